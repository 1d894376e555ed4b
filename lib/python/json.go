package python

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf16"
)

// AppendString appends s as json.dumps writes it: all that is not printable ASCII is escaped, beyond the basic plane as two surrogates.
func AppendString(dst []byte, s string) []byte {
	const named, escapes = "\"\\\n\r\t\f\b", `"\nrtfb`
	dst = append(dst, '"')
	for _, r := range s {
		switch at := strings.IndexRune(named, r); {
		case at >= 0:
			dst = append(dst, '\\', escapes[at])
		case ' ' <= r && r <= '~':
			dst = append(dst, byte(r))
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			dst = fmt.Appendf(dst, `\u%04x\u%04x`, high, low)
		default:
			dst = fmt.Appendf(dst, `\u%04x`, r)
		}
	}
	return append(dst, '"')
}

// AppendFloat appends x as json.dumps and repr write it: the shortest digits that give x again, with a point or an exponent, and NaN and Infinity.
func AppendFloat(dst []byte, x float64) []byte {
	switch {
	case math.IsNaN(x):
		return append(dst, "NaN"...)
	case math.IsInf(x, 1):
		return append(dst, "Infinity"...)
	case math.IsInf(x, -1):
		return append(dst, "-Infinity"...)
	}
	if size := math.Abs(x); size != 0 && (size < 1e-4 || size >= 1e16) {
		return strconv.AppendFloat(dst, x, 'e', -1, 64)
	}
	start := len(dst)
	dst = strconv.AppendFloat(dst, x, 'f', -1, 64)
	if !strings.Contains(string(dst[start:]), ".") {
		dst = append(dst, ".0"...)
	}
	return dst
}
