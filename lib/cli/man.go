package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/jessevdk/go-flags"
)

const exitStatus = `.SH EXIT STATUS
0 done, or saved and stopped as asked; 1 failed; 2 wrong usage, nothing touched; 3 a check answered no; 128+n ended by signal n.
`

// writeManPage writes the manual page in roff: what go-flags makes of the options, then examples and exit status.
func writeManPage(w io.Writer, parser *flags.Parser, p Program) {
	parser.LongDescription = p.Help // the summary stands under NAME
	parser.WriteManPage(w)
	fmt.Fprint(w, exitStatus)
	if p.Examples != "" {
		fmt.Fprintf(w, ".SH EXAMPLES\n.nf\n%s\n.fi\n", strings.ReplaceAll(strings.Trim(p.Examples, "\n"), "-", "\\-"))
	}
}
