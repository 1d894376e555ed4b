package sentence

import "strings"

// Kinds of English abbreviations.
const (
	beforeName   = 1 + iota // titles, and others that always want something behind them: never the end of a sentence
	beforeNumber            // "no. 5", "fig. 3.1": the end unless a number follows, or the sentence visibly goes on
	atEnd                   // may be the last word of a sentence
)

// abbreviations in lower case without the last period, as Punkt's model lacks them or does not know how they stand.
var abbreviations = kinds(map[int]string{
	beforeName: `mr mrs ms messrs mmes dr drs prof rev hon fr gen col maj capt cmdr lt sgt cpl pvt adm gov sen sens rep reps pres supt insp det
		st mt ft e.g i.e eg ie viz cf vs approx ca incl resp ps p.s`,
	beforeNumber: `no nos nr n° fig figs eq eqs sec secs ch chap vol vols p pp par para art pt op ex tab app ref refs rs fol`,
	atEnd: `al etc &c ed eds trans repr rev jr sr esq inc ltd co corp bros dept dist est misc univ assn ave blvd rd jan feb mar apr jun jul aug
		sep sept oct nov dec mon tue tues wed thu thur thurs fri sat sun a.m p.m b.c a.d`,
})

func kinds(lists map[int]string) map[string]int {
	kind := make(map[string]int)
	for k, list := range lists {
		for word := range strings.FieldsSeq(list) {
			kind[word] = k
		}
	}
	return kind
}

// openings are words that begin sentences and, written with a capital, seldom stand within one: articles, pronouns, question words,
// conjunctions, prepositions, auxiliaries. "May" and "Will", which are names too, are not among them.
var openings = kinds(map[int]string{1: `a an the this that these those i he she it we you they his her its our my your their there here
	who what when where why how which whose and but or so yet nor if as at by for from in of on to with without after before since until while
	although though because however moreover thus then also both each every many most some several such all any no not other another
	is are was were do does did has have had can could would should let once only even despite during under over between among`})

// opensSentence tells whether a capitalised word, with what hangs on it, is one of openings.
func opensSentence(word string) bool {
	end := strings.IndexFunc(word, func(r rune) bool { return !('a' <= r|0x20 && r|0x20 <= 'z') })
	if end < 0 {
		end = len(word)
	}
	return end > 0 && 'A' <= word[0] && word[0] <= 'Z' && (end == len(word) || word[end] != '.') && openings[strings.ToLower(word[:end])] != 0
}
