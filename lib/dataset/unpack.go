package dataset

import (
	"archive/tar"
	"archive/zip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"

	"hpcbert/lib/bzip2"
	"hpcbert/lib/fault"
	"hpcbert/lib/stream"

	"github.com/klauspost/compress/gzip"
)

// Unpack takes the members of f out of the archive into dir and checks them. Nothing else in the archive is touched.
func Unpack(ctx context.Context, f File, archive, dir string) error {
	var err error
	switch f.Unpack {
	case "zip":
		err = unpackZip(ctx, f, archive, dir)
	case "tar.gz":
		err = unpackTar(ctx, f, archive, dir)
	default:
		err = unpackOne(ctx, f, archive, dir)
	}
	if err != nil {
		return fault.WithHint(fmt.Errorf("unpack %s: %w", f.Name, truncated(err)), "%s", firstHint(err, wrongHint))
	}
	return nil
}

func firstHint(err error, other string) string {
	if hint := fault.HintOf(err); hint != "" {
		return hint
	}
	return other
}

func unpackZip(ctx context.Context, f File, archive, dir string) error {
	z, err := zip.OpenReader(archive)
	if err != nil {
		return err
	}
	defer z.Close()
	for _, m := range f.Members {
		in, err := z.Open(m.Path)
		if err != nil {
			return err
		}
		err = write(ctx, in, m, dir)
		in.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

func unpackTar(ctx context.Context, f File, archive, dir string) error {
	in, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer in.Close()
	z, err := gzip.NewReader(in)
	if err != nil {
		return err
	}
	missing := slices.Clone(f.Members)
	for t := tar.NewReader(z); len(missing) > 0; {
		head, err := t.Next()
		if err == io.EOF {
			return fmt.Errorf("%s is not in it", missing[0].Path)
		}
		if err != nil {
			return err
		}
		i := slices.IndexFunc(missing, func(m Member) bool { return m.Path == path.Clean(head.Name) })
		if i < 0 || head.Typeflag != tar.TypeReg {
			continue
		}
		if err := write(ctx, t, missing[i], dir); err != nil {
			return err
		}
		missing = slices.Delete(missing, i, i+1)
	}
	return nil
}

// unpackOne unpacks a compressed file.
func unpackOne(ctx context.Context, f File, archive, dir string) error {
	file, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer file.Close()
	if f.Unpack == "bz2" {
		in := bzip2.NewReader(file, 1)
		defer in.Close()
		return write(ctx, in, f.Members[0], dir)
	}
	in, err := gzip.NewReader(file)
	if err != nil {
		return err
	}
	return write(ctx, in, f.Members[0], dir)
}

// write copies a member to its file, which appears when it has been checked.
func write(ctx context.Context, in io.Reader, m Member, dir string) error {
	name := filepath.Join(dir, m.Name)
	out, err := stream.Temporary(name)
	if err != nil {
		return err
	}
	defer os.Remove(out.Name()) // fails when it has its name
	defer out.Close()
	if _, err := io.Copy(out, stream.Stoppable(ctx, in)); err != nil {
		var path *os.PathError
		if errors.As(err, &path) {
			err = path.Err
		}
		return stream.DiskFull(fmt.Errorf("%s: %w", m.Name, truncated(err)))
	}
	if err := m.Content.verify(ctx, out.Name()); err != nil {
		return fmt.Errorf("%s: %w", m.Name, err)
	}
	return stream.Finish(out, name)
}
