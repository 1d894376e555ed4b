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

// unpack takes the members of f out of the archive into dir and checks them. Nothing else in the archive is touched.
func unpack(ctx context.Context, f File, archive, dir string) error {
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
	most, err := mostUnpacked(archive)
	if err != nil {
		return err
	}
	for _, m := range f.Members {
		in, err := z.Open(m.Path)
		if err != nil {
			return err
		}
		err = write(ctx, in, m, dir, most)
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
	z, err := gzip.NewReader(stream.Stoppable(ctx, in))
	if err != nil {
		return err
	}
	most, err := mostUnpacked(archive)
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
		if err := write(ctx, t, missing[i], dir, most); err != nil {
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
	most, err := mostUnpacked(archive)
	if err != nil {
		return err
	}
	if f.Unpack == "bz2" {
		in := bzip2.NewReader(file, 1)
		defer in.Close()
		return write(ctx, in, f.Members[0], dir, most)
	}
	in, err := gzip.NewReader(file)
	if err != nil {
		return err
	}
	return write(ctx, in, f.Members[0], dir, most)
}

// mostUnpacked returns how many bytes a member of an archive may have whose size is not known: far more than any text packs to, and not what
// an archive made to fill disks holds.
func mostUnpacked(archive string) (int64, error) {
	size, err := sizeOf(archive)
	return 1<<20 + 200*size, err
}

// write copies a member of at most so many bytes to its file, which appears when it has been checked.
func write(ctx context.Context, in io.Reader, m Member, dir string, most int64) error {
	if m.Size > 0 {
		most = m.Size
	}
	name := filepath.Join(dir, m.Name)
	out, err := stream.Temporary(name)
	if err != nil {
		return err
	}
	defer os.Remove(out.Name()) // fails when it has its name
	defer out.Close()
	n, err := io.Copy(out, stream.Stoppable(ctx, io.LimitReader(in, most+1)))
	if err != nil {
		var path *os.PathError
		if errors.As(err, &path) {
			err = path.Err
		}
		return stream.DiskFull(fmt.Errorf("%s: %w", m.Name, truncated(err)))
	}
	if n > most {
		return fault.WithHint(fmt.Errorf("%s: it unpacks to more than %d bytes", m.Name, most), "if that is right, the catalogue must tell the member's size")
	}
	if err := m.Content.verify(ctx, out.Name()); err != nil {
		return fmt.Errorf("%s: %w", m.Name, err)
	}
	return stream.Finish(out, name)
}
