// Package curve draws training curves from metrics files.
package curve

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"image/color"
	"io"
	"path/filepath"

	"hpcbert/lib/fault"
	"hpcbert/lib/stream"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
)

// Series is a quantity over the steps of a run.
type Series struct {
	Label  string
	Points plotter.XYs
}

// Read takes one field ("loss") of each step of a metrics file.
func Read(r io.Reader, name, field string) (plotter.XYs, error) {
	var points plotter.XYs
	in := bufio.NewReader(r)
	for number := 1; ; number++ {
		line, err := in.ReadBytes('\n')
		if len(bytes.TrimSpace(line)) > 0 {
			var row map[string]any
			if err := json.Unmarshal(line, &row); err != nil {
				return nil, fault.WithHint(fmt.Errorf("read %s: line %d: %w", name, number, err), "expected metrics.jsonl of bertrain: one JSON object a line")
			}
			step, isStep := row["step"].(float64)
			value, has := row[field].(float64)
			if isStep && has {
				points = append(points, plotter.XY{X: step, Y: value})
			}
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
	}
	if len(points) == 0 {
		return nil, fault.WithHint(fmt.Errorf("read %s: no step has a number %q", name, field), "fields of metrics.jsonl are loss, mlm_loss, nsp_loss, learning_rate, sequences_per_s and others")
	}
	return points, nil
}

// Draw writes the curves of one field as a picture of the kind that name's suffix says: .png, .svg or .pdf.
func Draw(name, field string, series []Series) error {
	p := plot.New()
	p.X.Label.Text, p.Y.Label.Text = "step", field
	p.Legend.Top = true
	p.Add(plotter.NewGrid())
	for i, s := range series {
		line, err := plotter.NewLine(s.Points)
		if err != nil {
			return err
		}
		line.Color = colours[i%len(colours)]
		line.Width = vg.Points(1.2)
		p.Add(line)
		p.Legend.Add(s.Label, line)
	}
	picture, err := p.WriterTo(16*vg.Centimeter, 10*vg.Centimeter, filepath.Ext(name)[1:])
	if err != nil {
		return err
	}
	w, err := stream.Create(name, nil)
	if err != nil {
		return err
	}
	defer w.Close()
	if _, err := picture.WriteTo(w); err != nil {
		return err
	}
	return w.Commit()
}

// colours can be told apart by most colour-blind readers (Okabe and Ito).
var colours = []color.Color{
	color.RGBA{0, 114, 178, 255}, color.RGBA{213, 94, 0, 255}, color.RGBA{0, 158, 115, 255}, color.RGBA{204, 121, 167, 255}, color.RGBA{230, 159, 0, 255},
}
