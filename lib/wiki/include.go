package wiki

import "bytes"

// transcluded appends what a page that transcludes the template s gets of it: all but <noinclude>, or only <onlyinclude>.
func transcluded(dst, s []byte) []byte {
	in := inclusion{keep: true}
	for {
		i := bytes.IndexByte(s, '<')
		if i < 0 {
			return in.append(dst, s)
		}
		dst = in.append(dst, s[:i])
		s = s[i:]
		n := 1
		t, isTag := parseTag(s, 0)
		switch {
		case isTag:
			dst, n = in.tag(dst, s, t)
		case bytes.HasPrefix(s, []byte("<!--")):
			n = in.comment(s)
			dst = in.append(dst, s[:n])
		default:
			dst = in.append(dst, s[:1])
		}
		s = s[n:]
	}
}

// inclusion is the state of transcluded.
type inclusion struct {
	only, keep              bool // <onlyinclude> was seen; the text here is wanted
	openComment, openNowiki bool // one without end was seen: there is no end behind it either
}

func (in *inclusion) append(dst, s []byte) []byte {
	if !in.keep {
		return dst
	}
	return append(dst, s...)
}

// tag treats the tag at the start of s and returns how much of s that took.
func (in *inclusion) tag(dst, s []byte, t tag) ([]byte, int) {
	opens := !t.closing && !t.empty
	switch t.name {
	case "includeonly":
		return dst, t.end
	case "noinclude":
		if !opens {
			return dst, t.end
		}
		if _, end, ok := findEnd(s, t.end, t.element); ok {
			return dst, end
		}
		return dst, len(s)
	case "onlyinclude":
		if opens && !in.only {
			dst, in.only = dst[:0], true
		}
		in.keep = opens || !in.only
		return dst, t.end
	case "nowiki":
		if opens && !in.openNowiki {
			if _, end, ok := findEnd(s, t.end, t.element); ok {
				return in.append(dst, s[:end]), end
			}
			in.openNowiki = true
		}
	}
	return in.append(dst, s[:t.end]), t.end
}

// comment returns the length of the comment at the start of s, or of its mark when it has no end.
func (in *inclusion) comment(s []byte) int {
	const mark = len("<!--")
	if !in.openComment {
		if end := bytes.Index(s[mark:], []byte("-->")); end >= 0 {
			return mark + end + len("-->")
		}
		in.openComment = true
	}
	return mark
}
