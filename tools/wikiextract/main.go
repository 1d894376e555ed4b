// Wikiextract turns MediaWiki XML dumps into documents of plain paragraphs.
//
//	wikiextract [OPTION...] [DUMP...]
//
// It reads DUMPs one after the other, standard input without DUMP or for "-": plain or compressed with bzip2, gzip or zstd (told by
// their first bytes), in UTF-8 or UTF-16. It writes a document for each article that has text, in the order of the dump; redirects are
// left out.
//
// Forms: json is one object {"id","title","text"} a line, text holding one paragraph a line; doc is WikiExtractor's frames, <doc id=
// url= title=>, the title, an empty line, one paragraph a line, an empty line, </doc>; line is what the original pipeline makes of
// those: an article a line, without title, a blank behind each paragraph, and an empty line.
//
// The text follows WikiExtractor's defaults, so that corpora stay comparable: tables, references, galleries, headings, list items and
// indented lines are removed; links are replaced by their text, links to files, categories and other wikis removed; bold marks vanish,
// italics become double quotes; <math> and <code> become formula_N and codice_N. --keep-lists and --keep-headings keep more. Of texts in
// several scripts, -{zh-hans:...; zh-hant:...}-, one is taken.
//
// Templates that the DUMPs define are expanded, with parameters, defaults and the parser functions #if, #ifeq, #switch, #expr and their
// kin; those that they do not define, and Lua modules (#invoke), are removed. All DUMPs of a wiki share their templates. As a dump
// may define a template behind its use, there are two passes: a plain file is read twice; anything else is decompressed once and its
// articles are spooled, compressed to some half of the XML, beside the output (-o), else in TMPDIR or /tmp. So nothing is written
// before a pipe or compressed DUMP ends. --no-templates removes all templates, in one pass without spool.
//
// Where WikiExtractor damages text this program does not follow it:
//
//   - A link to a title with a colon keeps its text: [[Star Trek: Voyager]].
//   - <br> leaves a blank between the words beside it, and no tag is left in the text: WikiExtractor keeps "</br>" and "<br clear=all>".
//   - A template with a parameter keeps it: WikiExtractor loses most, and leaves "(; ; )" of "({{lang-en|...}}; ...)".
//   - Redirects between templates are followed; "|", "valign=top|" and other remains of tables are not left.
//   - Unbalanced markup takes away as little as possible; WikiExtractor may lose the rest of the article, as it does in enwiki's "Acid".
//   - Entities in titles are decoded.
//
// Options that surprise: --namespaces takes numbers, as in <ns> (0 articles, 14 categories); --min-chars counts characters of the text
// without the title.
//
// Examples:
//
//	wikiextract enwiki-latest-pages-articles.xml.bz2 -o enwiki.jsonl.zst
//	wikiextract dump.xml.bz2 | segment | shard --train 256 --test 256 -o shards
//	lbzip2 -dc dump.xml.bz2 | wikiextract --no-templates --min-chars 200 > long.jsonl
//
// Exit status: 0 whole input done; 1 a dump is missing, cut off, malformed or without an article; 2 wrong usage. An output file appears
// whole or not at all; standard output ends with a line that says so on a failure or signal, which segment refuses.
//
// Memory: the largest page times five times the threads, some 100 MiB for a whole Wikipedia; some 20 MiB a thread where bzip2 is decompressed;
// and the text of the templates, without their documentation, up to twice: at most --template-memory, default 1 GiB; templates beyond it are
// left out with a warning. Reproducibility: the output does not depend on -j, which caps the cores that all stages use together.
//
// Bugs: the parser functions that tell the time (#time and its kin) are removed as Lua modules are. Where an article puts part of a sentence into a template that is a Lua module, as
// {{convert|...}} in the English Wikipedia, the sentence has a gap.
package main

import (
	"context"
	_ "embed"

	"hpcbert/lib/cli"
	"hpcbert/lib/corpus"
	"hpcbert/lib/fault"
	"hpcbert/lib/stream"
	"hpcbert/lib/wiki"
)

//go:embed main.go
var source string

var program = cli.Program{
	Name:    "wikiextract",
	Source:  source,
	Args:    "[DUMP...]",
	Summary: "turn MediaWiki XML dumps into documents of plain paragraphs",
	Help: "Reads dumps (plain, bzip2, gzip, zstd; UTF-8 or UTF-16), standard input without DUMP. Writes a document for each article with text, " +
		`in the order of the dump, by default one JSON object {"id","title","text"} a line. Markup goes as WikiExtractor does it: ` +
		"tables, references, headings and lists are removed, links become their text, italics double quotes.\n\n" +
		"Templates defined in the dumps are expanded, unknown ones removed. For that a plain file is read twice; the articles of anything else are " +
		"spooled, compressed to some half, beside the output, else in TMPDIR or /tmp.\n\n" +
		"Memory: some 100 MiB, 20 MiB a thread to decompress bzip2, and up to twice the text of the templates (--template-memory).",
	Examples: `
  wikiextract enwiki-latest-pages-articles.xml.bz2 -o enwiki.jsonl.zst
  wikiextract dump.xml.bz2 | segment | shard --train 256 --test 256 -o shards
  lbzip2 -dc dump.xml.bz2 | wikiextract --no-templates --min-chars 200 > long.jsonl`,
}

type options struct {
	cli.Common
	Output         string   `short:"o" long:"output" value-name:"FILE" description:"write to FILE, compressed if it ends in .gz or .zst (default: standard output)"`
	Format         string   `long:"format" value-name:"FORM" default:"json" description:"json: an object a line; doc: WikiExtractor's <doc> frames; line: an article a line"`
	Namespaces     string   `long:"namespaces" value-name:"N,..." default:"0" description:"numbers of the namespaces to extract"`
	MinChars       int      `long:"min-chars" value-name:"N" default:"0" description:"leave out texts of fewer than N characters"`
	KeepLists      bool     `long:"keep-lists" description:"keep list items and indented lines, one a line"`
	KeepHeadings   bool     `long:"keep-headings" description:"keep the headings of sections with text, one a line"`
	NoTemplates    bool     `long:"no-templates" description:"remove all templates: one pass, no spool"`
	TemplateMemory cli.Size `long:"template-memory" value-name:"SIZE" default:"1G" description:"text of templates to keep"`
}

func main() {
	var o options
	cli.Main(program, &o, o.run)
}

func (o *options) run(ctx context.Context, env *cli.Env, dumps []string) (err error) {
	namespaces, err := parseNamespaces(o.Namespaces)
	if err != nil {
		return err
	}
	if o.MinChars < 0 {
		return fault.Usagef("option --min-chars: %d characters, want 0 or more", o.MinChars)
	}
	form, err := parseForm(o.Format)
	if err != nil {
		return err
	}
	if err := stream.CheckOutput(o.Output, dumps...); err != nil {
		return err
	}
	if len(dumps) == 0 {
		dumps = []string{"-"}
	}
	env.EndWithReader(o.Output)
	out, err := stream.Create(o.Output, env.Stdout)
	if err != nil {
		return err
	}
	defer out.CloseMarked(&err, form.Mark(ctx, env.Name))

	e := extraction{env: env, extractor: wiki.Extractor{Namespaces: namespaces, MinChars: o.MinChars,
		Keep: wiki.Keep{Lists: o.KeepLists, Headings: o.KeepHeadings}, Workers: env.Threads()}}
	defer e.close()
	if !o.NoTemplates {
		e.extractor.Templates = &wiki.Templates{Limit: int64(o.TemplateMemory)}
		if err := e.scan(ctx, dumps, spoolFolder(env, o.Output)); err != nil {
			return err
		}
	}
	total, err := e.extract(ctx, dumps, corpus.NewFormWriter(out, form))
	if err != nil {
		return err
	}
	if err := out.Commit(); err != nil {
		return err
	}
	env.Summaryf("wrote %d documents, %d characters, of %v", total.Documents, total.Characters, total)
	return nil
}
