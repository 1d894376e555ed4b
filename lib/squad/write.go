package squad

import (
	"bufio"
	"io"

	"hpcbert/lib/python"
)

// WritePredictions writes the answers' texts as the official scripts read them: an object, by the questions' ids.
func WritePredictions(w io.Writer, answers []Answer) error {
	return writeObject(w, answers, func(b []byte, a Answer) []byte { return python.AppendString(b, a.Text) })
}

// WriteNullOdds writes how much more likely no answer is than the best one.
func WriteNullOdds(w io.Writer, answers []Answer) error {
	return writeObject(w, answers, func(b []byte, a Answer) []byte { return python.AppendFloat(b, a.NullOdds) })
}

// WriteNBest writes all guesses, best first.
func WriteNBest(w io.Writer, answers []Answer) error {
	return writeObject(w, answers, func(b []byte, a Answer) []byte { return appendGuesses(b, a.NBest, "    ") })
}

// appendGuesses appends guesses as json.dumps does with an indent of 4; all lines but the first begin with indent.
func appendGuesses(b []byte, guesses []Guess, indent string) []byte {
	b = append(b, '[')
	for i, g := range guesses {
		if i > 0 {
			b = append(b, ',')
		}
		key := func(before, name string) {
			b = append(append(append(b, before+"\n"+indent+"        \""...), name...), "\": "...)
		}
		b = append(b, "\n"+indent+"    {"...)
		key("", "text")
		b = python.AppendString(b, g.Text)
		key(",", "probability")
		b = python.AppendFloat(b, g.Probability)
		key(",", "start_logit")
		b = python.AppendFloat(b, g.Start)
		key(",", "end_logit")
		b = python.AppendFloat(b, g.End)
		b = append(b, "\n"+indent+"    }"...)
	}
	return append(b, "\n"+indent+"]"...)
}

// writeObject writes an object of the answers' ids and what value appends, as json.dumps does with an indent of 4.
func writeObject(w io.Writer, answers []Answer, value func([]byte, Answer) []byte) error {
	out := bufio.NewWriter(w)
	b := []byte("{")
	for i, a := range answers {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(python.AppendString(append(b, "\n    "...), a.ID), ": "...)
		b = value(b, a)
		if _, err := out.Write(b); err != nil {
			return err
		}
		b = b[:0]
	}
	if len(answers) > 0 {
		b = append(b, '\n')
	}
	if _, err := out.Write(append(b, "}\n"...)); err != nil {
		return err
	}
	return out.Flush()
}
