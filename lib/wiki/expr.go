package wiki

import (
	"errors"
	"math"
	"strconv"
	"strings"
)

var errExpression = errors.New("not an expression")

// evaluate computes an expression of #expr.
func evaluate(text string) (float64, error) {
	e := expression{rest: strings.ToLower(text)}
	value := e.binary(1)
	if e.next(); e.failed || e.token != "" || math.IsNaN(value) || math.IsInf(value, 0) {
		return 0, errExpression
	}
	return value, nil
}

// expression is one under evaluation, by precedence.
type expression struct {
	rest   string
	token  string // looked at and not yet taken; "" at the end
	seen   bool   // token is valid
	depth  int
	failed bool
}

// next looks at the next token.
func (e *expression) next() string {
	if e.seen {
		return e.token
	}
	e.seen = true
	e.rest = strings.TrimLeft(e.rest, " \t\n")
	n := 0
	switch c := firstByte(e.rest); {
	case c >= '0' && c <= '9' || c == '.':
		n = len(e.rest) - len(strings.TrimLeft(e.rest, "0123456789."))
	case c >= 'a' && c <= 'z':
		n = len(e.rest) - len(strings.TrimLeft(e.rest, "abcdefghijklmnopqrstuvwxyz"))
	case strings.HasPrefix(e.rest, "<=") || strings.HasPrefix(e.rest, ">=") || strings.HasPrefix(e.rest, "<>") || strings.HasPrefix(e.rest, "!="):
		n = 2
	case strings.HasPrefix(e.rest, "−"): // the minus sign, which MediaWiki takes too
		n = len("−")
	default:
		n = min(1, len(e.rest))
	}
	e.token, e.rest = e.rest[:n], e.rest[n:]
	return e.token
}

func firstByte(s string) byte {
	if s == "" {
		return 0
	}
	return s[0]
}

func (e *expression) take() string {
	token := e.next()
	e.seen = false
	return token
}

var precedence = map[string]int{"or": 1, "and": 2, "=": 3, "!=": 3, "<>": 3, "<": 3, ">": 3, "<=": 3, ">=": 3, "round": 4, "+": 5, "-": 5, "−": 5,
	"*": 6, "/": 6, "div": 6, "mod": 6, "fmod": 6, "^": 7, "e": 8}

// binary evaluates operators of at least the given precedence; all group to the left.
func (e *expression) binary(least int) float64 {
	left := e.unary()
	for !e.failed {
		operator := e.next()
		p := precedence[operator]
		if p < least {
			return left
		}
		e.take()
		left = e.compute(operator, left, e.binary(p+1))
	}
	return 0
}

func (e *expression) compute(operator string, a, b float64) float64 {
	switch operator {
	case "or":
		return truth(a != 0 || b != 0)
	case "and":
		return truth(a != 0 && b != 0)
	case "=":
		return truth(a == b)
	case "!=", "<>":
		return truth(a != b)
	case "<":
		return truth(a < b)
	case ">":
		return truth(a > b)
	case "<=":
		return truth(a <= b)
	case ">=":
		return truth(a >= b)
	case "round":
		return roundTo(a, b)
	case "+":
		return a + b
	case "-", "−":
		return a - b
	case "*":
		return a * b
	case "/", "div":
		return a / b // by zero: infinite, an error in the end
	case "mod":
		return math.Mod(math.Trunc(a), math.Trunc(b))
	case "fmod":
		return math.Mod(a, b)
	case "^":
		return math.Pow(a, b)
	}
	return a * math.Pow(10, b) // e
}

func truth(is bool) float64 {
	if is {
		return 1
	}
	return 0
}

func roundTo(value, digits float64) float64 {
	scale := math.Pow(10, math.Trunc(max(-300, min(300, digits))))
	if rounded := math.Round(value*scale) / scale; !math.IsInf(rounded, 0) {
		return rounded
	}
	return value
}

var unaries = map[string]func(float64) float64{
	"-": func(v float64) float64 { return -v }, "−": func(v float64) float64 { return -v }, "+": func(v float64) float64 { return v },
	"not": func(v float64) float64 { return truth(v == 0) }, "abs": math.Abs, "ceil": math.Ceil, "floor": math.Floor, "trunc": math.Trunc,
	"sqrt": math.Sqrt, "exp": math.Exp, "ln": math.Log, "sin": math.Sin, "cos": math.Cos, "tan": math.Tan, "asin": math.Asin, "acos": math.Acos,
	"atan": math.Atan,
}

// unary evaluates a number, a constant, parentheses, or a sign or function of one.
func (e *expression) unary() float64 {
	if e.depth++; e.depth > maxDepth {
		e.failed = true
	}
	defer func() { e.depth-- }()
	token := e.take()
	switch {
	case e.failed:
		return 0
	case token == "(":
		value := e.binary(1)
		e.failed = e.failed || e.take() != ")"
		return value
	case token == "pi":
		return math.Pi
	case token == "e":
		return math.E
	case unaries[token] != nil:
		return unaries[token](e.unary())
	}
	value, err := strconv.ParseFloat(token, 64)
	e.failed = err != nil
	return value
}
