package wordpiece

import (
	"bufio"
	"os"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/text/unicode/norm"
)

// plainEncode is the tokenizer of the specification, section 2, step by step, without any thought of speed.
func plainEncode(v *Vocabulary, lower bool, text string) []int32 {
	var ids []int32
	for _, word := range plainBasic(text, lower) {
		ids = append(ids, plainPieces(v, word)...)
	}
	return ids
}

func plainBasic(text string, lower bool) []string {
	var clean strings.Builder
	for _, r := range text {
		switch {
		case r == '\t' || r == '\n' || r == '\r' || unicode.Is(unicode.Zs, r):
			clean.WriteByte(' ')
		case r == 0 || r == 0xfffd || !unicode.In(r, unicode.L, unicode.M, unicode.N, unicode.P, unicode.S, unicode.Z):
		case plainIdeograph(r):
			clean.WriteString(" " + string(r) + " ")
		default:
			clean.WriteRune(r)
		}
	}
	var words []string
	for _, word := range strings.Fields(clean.String()) {
		if slices.Contains([]string{"[UNK]", "[SEP]", "[PAD]", "[CLS]", "[MASK]"}, word) {
			words = append(words, word)
			continue
		}
		if lower {
			word = plainLower(word)
		}
		var parted strings.Builder
		for _, r := range word {
			if strings.ContainsRune("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~", r) || unicode.Is(unicode.P, r) {
				parted.WriteString(" " + string(r) + " ")
			} else {
				parted.WriteRune(r)
			}
		}
		words = append(words, strings.Fields(parted.String())...)
	}
	return words
}

func plainIdeograph(r rune) bool {
	return 0x4E00 <= r && r <= 0x9FFF || 0x3400 <= r && r <= 0x4DBF || 0x20000 <= r && r <= 0x2A6DF || 0x2A700 <= r && r <= 0x2B73F ||
		0x2B740 <= r && r <= 0x2B81F || 0x2B820 <= r && r <= 0x2CEAF || 0xF900 <= r && r <= 0xFAFF || 0x2F800 <= r && r <= 0x2FA1F
}

func plainLower(word string) string {
	var b strings.Builder
	for i, r := range word {
		if r == 'Σ' && plainCasedAt(word[:i], false) && !plainCasedAt(word[i+len("Σ"):], true) {
			b.WriteString("ς")
			continue
		}
		b.WriteRune(unicode.ToLower(r))
	}
	var bare strings.Builder
	for _, r := range norm.NFD.String(b.String()) {
		if !unicode.Is(unicode.Mn, r) {
			bare.WriteRune(r)
		}
	}
	return bare.String()
}

// plainCasedAt tells whether the first character that is not case-ignorable, from the start or from the end, is cased.
func plainCasedAt(text string, fromStart bool) bool {
	runes := []rune(text)
	if !fromStart {
		slices.Reverse(runes)
	}
	for _, r := range runes {
		if unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf, unicode.Lm, unicode.Sk) || strings.ContainsRune("':.\u00b7\u0387\u055f\u05f4\u2018\u2019\u2024\u2027\ufe13\ufe52\ufe55\uff07\uff0e\uff1a", r) {
			continue
		}
		return unicode.In(r, unicode.Lu, unicode.Ll, unicode.Lt, unicode.Other_Lowercase, unicode.Other_Uppercase)
	}
	return false
}

func plainPieces(v *Vocabulary, word string) []int32 {
	runes := []rune(word)
	if len(runes) > 100 {
		return []int32{v.Unk}
	}
	var ids []int32
	for prefix := ""; len(runes) > 0; prefix = "##" {
		n := len(runes)
		for n > 0 && v.ID(prefix+string(runes[:n])) < 0 {
			n--
		}
		if n == 0 {
			return []int32{v.Unk}
		}
		ids = append(ids, v.ID(prefix+string(runes[:n])))
		runes = runes[n:]
	}
	return ids
}

// hardTexts are where a fast path goes wrong: ends of registers, what looks beyond a segment, what is no text.
func hardTexts() []string {
	texts := []string{
		"", " ", "a", "a Áb\xff[MASK] 中ΣΑΣ", "x\u00a0[MASK]", "中[MASK]中", "[MA\u200bSK]", "\u200b[MASK]", "a[MASK]", "[MASK]a", "[MASK],", "[[MASK]]",
		"ab'Σ", "ΑΣ'a", "ab,cd.ΑΣ,ef gh", "ab\u00a0ΑΣ'\u00a0Σb", "ab,c\x00d,ef", "\x00", "a\x00", "a\x7fb", "\xc3", "a\xc3", "\xe4\xb8", "e\u0301", "e,\u0301f", "\u0301",
		"don\u2019t\u2014stop", "\u2028a\u2029b\u0085c", "\ufeffab", "İI\u0307", "ǅǆ ﬁ", "한글 a한b", "नमस्ते", "\U0001f600ab\U0001f468\u200d\U0001f469", "<\u0338 a\u0338",
		"\U0001d165\U0001d16d\u302e", "\ufdd0 \U0010ffff", "ẞß", "aͅΣ", "[UNK][CLS] [PAD]\t[SEP]\r\n[unused1]", strings.Repeat("[", 50), strings.Repeat("é", 101) + " a",
		"abcdefghijklmno abcdefghijklmnop abcdefghijklmnopq", "ABCDEFG ABCDEFGH ABCDEFGHI ABCDEFGHIJKLMNO", "@`[{/:Az09", "ab\x80cd", "\u007f\u0080", "ünabcdefg hüabcdefghijklmn",
	}
	for n := 1; n < 40; n++ {
		word := strings.Repeat("ab", 20)[:n]
		texts = append(texts, word, word+".", word+" b", word+"\u200bb", word+"é", word+"Σ", "."+word, strings.ToUpper(word)+"'Σ")
	}
	for _, n := range []int{99, 100, 101, 300} {
		texts = append(texts, strings.Repeat("a", n), strings.Repeat("a", n)+"\u0301", strings.Repeat("中", n))
	}
	return texts
}

// a vocabulary in which many different words have different pieces
const smallVocabulary = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\n##a\nb\n##b\nab\n##ab\n##abab\nc\n##c\nd\n##d\ne\n##e\né\n##é\nσ\n##σ\nς\n##ς\nα\n##α\nΑ\n##Α\n##Σ\nΣ\n中\n.\n,\n'\n[\n]\n\u2019\n\u2014\n" +
	"\u1112\n##\u1161\n##\u11ab\n##\u0301\n\u0301\n##\U0001f469\n=\n##=\nmask\n##1\n0\n##9\nunk"

func TestEqualsPlainVersion(t *testing.T) {
	v, err := Load(strings.NewReader(smallVocabulary), "v")
	if err != nil {
		t.Fatal(err)
	}
	for _, lower := range []bool{true, false} {
		tok := New(v, Options{LowerCase: lower})
		texts := hardTexts()
		texts = append(texts, strings.Join(texts, " "), strings.Join(texts, ""), strings.Join(texts, ",")) // and now that the cache is warm
		for _, text := range append(texts, texts...) {
			if diff := cmp.Diff(plainEncode(v, lower, text), tok.Encode(nil, text), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("lower-casing %t: %q: %s", lower, text, diff)
			}
		}
	}
}

// More different words than the cache holds, twice.
func TestCacheOverflows(t *testing.T) {
	v, err := Load(strings.NewReader(smallVocabulary), "v")
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for i := range 6 << cacheBits {
		for k := i + 1; k > 0; k /= 4 {
			text.WriteByte("abcd"[k%4])
		}
		text.WriteByte(' ')
	}
	tok := New(v, Options{LowerCase: true})
	want := plainEncode(v, true, text.String())
	for range 2 {
		if !slices.Equal(tok.Encode(nil, text.String()), want) {
			t.Fatal("ids differ from the plain version's")
		}
	}
}

// Every text of the folder of real data that is in a language of its own.
func TestRealTexts(t *testing.T) {
	for _, c := range []struct {
		vocab string
		lower bool
	}{{"bert-base-uncased", true}, {"bert-base-multilingual-cased", false}} {
		v := loadFile(t, dataFile(t, "wordpiece/vocab/"+c.vocab+"-vocab.txt"))
		tok := New(v, Options{LowerCase: c.lower})
		for _, name := range []string{"wiki/golden/bgwiki.wikiextractor.txt", "wiki/golden/ltgwiki.wikiextractor.txt", "wiki/golden/nlwiki.wikiextractor.txt",
			"wiki/golden/wikiclean-multilang-pages.shared.wikiextractor.txt", "wiki/parserTests/parserTests.txt", "wordpiece/golden/nvidia_reference_tokenization.jsonl"} {
			f, err := os.Open(dataFile(t, name))
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			lines := bufio.NewScanner(f)
			for lines.Scan() {
				if !slices.Equal(tok.Encode(nil, lines.Text()), plainEncode(v, c.lower, lines.Text())) {
					t.Fatalf("%s, lower-casing %t, %s: ids of %q differ from the plain version's", c.vocab, c.lower, name, lines.Text())
				}
			}
		}
	}
}

// The caches live on from text to text, so what a text covers changes: run it with -fuzzminimizetime 1x, or shortening texts takes all the time.
func FuzzEncode(f *testing.F) {
	v, err := Load(strings.NewReader(smallVocabulary), "v")
	if err != nil {
		f.Fatal(err)
	}
	for _, text := range hardTexts() {
		f.Add(text)
	}
	uncased, cased := New(v, Options{LowerCase: true}), New(v, Options{})
	f.Fuzz(func(t *testing.T, text string) {
		for lower, tok := range map[bool]*Tokenizer{true: uncased, false: cased} {
			if diff := cmp.Diff(plainEncode(v, lower, text), tok.Encode(nil, text), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("lower-casing %t: %s", lower, diff)
			}
			if diff := cmp.Diff(plainBasic(text, lower), tok.basic(text), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("basic step, lower-casing %t: %s", lower, diff)
			}
		}
	})
}
