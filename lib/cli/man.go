package cli

import (
	"fmt"
	"go/ast"
	"go/doc/comment"
	"go/parser"
	"go/token"
	"io"
	"strings"

	"github.com/jessevdk/go-flags"
)

const exitStatus = `.SH EXIT STATUS
0 done, or saved and stopped as asked; 1 failed; 2 wrong usage, nothing touched; 3 a check answered no; 128+n ended by signal n.
`

// writeManPage writes the manual page in roff: what go-flags makes of the options, then what stands at the head of the source, exit status and
// examples.
func writeManPage(w io.Writer, options *flags.Parser, p Program) {
	options.LongDescription = p.Help // the summary stands under NAME
	options.WriteManPage(w)
	writeNotes(w, p.Source)
	fmt.Fprint(w, exitStatus)
	if p.Examples != "" {
		fmt.Fprintf(w, ".SH EXAMPLES\n.nf\n%s\n.fi\n", roff(strings.Trim(p.Examples, "\n")))
	}
}

// writeNotes writes the comment at the head of a Go source.
func writeNotes(w io.Writer, source string) {
	file, err := parser.ParseFile(token.NewFileSet(), "", source, parser.PackageClauseOnly|parser.ParseComments)
	if err != nil || file.Doc == nil {
		return
	}
	fmt.Fprint(w, ".SH NOTES\n")
	writeBlocks(w, file.Doc)
}

func writeBlocks(w io.Writer, doc *ast.CommentGroup) {
	var reader comment.Parser
	var plain comment.Printer
	for _, block := range reader.Parse(doc.Text()).Content {
		text := string(plain.Text(&comment.Doc{Content: []comment.Block{block}}))
		switch block.(type) {
		case *comment.Heading:
			fmt.Fprintf(w, ".SS %s\n", roff(strings.TrimSpace(strings.TrimPrefix(text, "# "))))
		case *comment.Code, *comment.List:
			fmt.Fprintf(w, ".PP\n.nf\n%s\n.fi\n", roff(strings.TrimRight(strings.ReplaceAll(text, "\t", "  "), "\n")))
		default:
			fmt.Fprintf(w, ".PP\n%s\n", roff(strings.TrimSpace(text)))
		}
	}
}

// roff quotes what roff would take for its own.
func roff(text string) string {
	lines := strings.Split(strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(text), "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'") {
			lines[i] = `\&` + line
		}
	}
	return strings.Join(lines, "\n")
}
