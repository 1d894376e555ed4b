package main

import (
	"cmp"
	"context"
	"os"
	"path/filepath"

	"hpcbert/lib/cli"
	"hpcbert/lib/corpus"
	"hpcbert/lib/stream"
	"hpcbert/lib/wiki"
)

// extraction is a run over all dumps: first for their templates, then for their articles.
type extraction struct {
	env       *cli.Env
	extractor wiki.Extractor
	spools    map[int]*wiki.Spool // of the dumps that are read only once
}

// spoolFolder is the folder of the output, else the one for temporary files.
func spoolFolder(env *cli.Env, output string) string {
	if info, err := os.Stat(output); output != "" && output != "-" && (err != nil || info.Mode().IsRegular()) {
		return filepath.Dir(output)
	}
	return cmp.Or(env.Getenv("TMPDIR"), "/tmp")
}

// scan collects the templates of all dumps and spools the articles of those that are not plain files, in folder.
func (e *extraction) scan(ctx context.Context, dumps []string, folder string) error {
	e.spools = make(map[int]*wiki.Spool)
	progress := e.env.Progress("collecting templates", "pages", 0)
	defer progress.Finish()
	for i, name := range dumps {
		in, err := e.open(ctx, name)
		if err != nil {
			return err
		}
		if !in.Plain() {
			if e.spools[i], err = wiki.NewSpool(folder); err != nil {
				in.Close()
				return err
			}
		}
		err = e.extractor.Scan(ctx, in, in.Name, e.spools[i], func() { progress.Add(1) })
		e.done(in)
		if err != nil {
			return err
		}
	}
	templates := e.extractor.Templates
	e.env.Debugf("%v", templates)
	if templates.LeftOut > 0 {
		e.env.Warnf("%d templates beyond %d bytes of text are not expanded: --template-memory allows more", templates.LeftOut, templates.Limit)
	}
	return nil
}

// extract writes the documents of all dumps.
func (e *extraction) extract(ctx context.Context, dumps []string, documents *corpus.FormWriter) (wiki.Counts, error) {
	progress := e.env.Progress("extracting", "documents", 0)
	defer progress.Finish()
	emit := func(d corpus.Document) error {
		progress.Add(1)
		return documents.Write(d)
	}
	var total wiki.Counts
	for i, name := range dumps {
		counts, err := e.extractOne(ctx, i, name, emit)
		if err != nil {
			return total, err
		}
		total.Add(counts)
	}
	return total, nil
}

func (e *extraction) extractOne(ctx context.Context, i int, name string, emit func(corpus.Document) error) (wiki.Counts, error) {
	if spool := e.spools[i]; spool != nil {
		return e.extractor.RunSpool(ctx, spool, emit)
	}
	in, err := e.open(ctx, name)
	if err != nil {
		return wiki.Counts{}, err
	}
	defer e.done(in)
	return e.extractor.Run(ctx, in, in.Name, emit)
}

func (e *extraction) open(ctx context.Context, name string) (*stream.Reader, error) {
	return stream.OpenThreads(ctx, name, e.env.Stdin, e.extractor.Workers)
}

// done closes a dump that has been read.
func (e *extraction) done(in *stream.Reader) {
	if in.Trailing() {
		e.env.Warnf("read %s: what follows the compressed data was ignored", in.Name)
	}
	in.Close()
}

// close frees the spools.
func (e *extraction) close() {
	for _, spool := range e.spools {
		if spool != nil {
			spool.Close()
		}
	}
}
