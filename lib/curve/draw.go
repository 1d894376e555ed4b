package curve

import (
	"fmt"
	"image/color"
	"math"
	"path/filepath"
	"strings"

	"hpcbert/lib/stream"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// Picture says what to draw and how.
type Picture struct {
	Fields []string // a panel each, one below the other
	Smooth int      // steps over which curves are averaged; 0 or 1: not at all
}

// titles are for people.
var titles = map[string]string{"loss": "loss (nats)", "learning_rate": "learning rate", "sequences_per_s": "sequences/s", "tokens_per_s": "tokens/s", "gflop_per_s": "GFLOP/s",
	"mlm_loss": "masked-token loss (nats)", "nsp_loss": "next-sentence loss (nats)", "gradient_norm": "gradient norm"}

const (
	width, panelHeight = 16 * vg.Centimeter, 7 * vg.Centimeter
	legendLine         = 0.55 * vg.Centimeter
	mostPoints         = 2000 // of a curve: more than a picture has columns
)

// Draw writes a picture of the kind that name's suffix says, .png, .svg or .pdf: a panel for each field with a curve for each run that has it.
// labels name the runs; above one there is a legend.
func (p Picture) Draw(name string, runs []*Run, labels []string) error {
	plots := make([][]*plot.Plot, len(p.Fields))
	for i, field := range p.Fields {
		one, err := p.panel(field, runs)
		if err != nil {
			return fmt.Errorf("draw %s: %w", field, err)
		}
		plots[i] = []*plot.Plot{one}
	}
	plots[len(plots)-1][0].X.Label.Text = "step"
	shareSteps(plots)
	head := vg.Length(0)
	if len(runs) > 1 {
		head = legendLine * vg.Length(len(runs))
	}
	canvas, err := draw.NewFormattedCanvas(width, head+panelHeight*vg.Length(len(plots)), strings.TrimPrefix(filepath.Ext(name), "."))
	if err != nil {
		return err
	}
	all := draw.New(canvas)
	all.SetColor(color.White)
	all.Fill(all.Rectangle.Path())
	if head > 0 {
		legend(labels).Draw(draw.Crop(all, vg.Centimeter, -vg.Centimeter, 0, 0))
	}
	tiles := draw.Tiles{Rows: len(plots), Cols: 1, PadRight: 0.5 * vg.Centimeter, PadTop: 0.2 * vg.Centimeter, PadBottom: 0.2 * vg.Centimeter, PadLeft: 0.2 * vg.Centimeter, PadY: 0.3 * vg.Centimeter}
	for i, part := range plot.Align(plots, tiles, draw.Crop(all, 0, 0, 0, -head)) {
		plots[i][0].Draw(part[0])
	}
	w, err := stream.Create(name, nil)
	if err != nil {
		return err
	}
	defer w.Close()
	if _, err := canvas.WriteTo(w); err != nil {
		return err
	}
	return w.Commit()
}

// shareSteps gives all panels the same axis below, so that what stands above each other is of the same step.
func shareSteps(plots [][]*plot.Plot) {
	first, last := math.Inf(1), math.Inf(-1)
	for _, p := range plots {
		first, last = min(first, p[0].X.Min), max(last, p[0].X.Max)
	}
	for _, p := range plots {
		p[0].X.Min, p[0].X.Max = first, last
	}
}

// panel draws one field.
func (p Picture) panel(field string, runs []*Run) (*plot.Plot, error) {
	out := plot.New()
	out.Y.Label.Text = field
	if title := titles[field]; title != "" {
		out.Y.Label.Text = title
	}
	out.X.Tick.Marker, out.Y.Tick.Marker = ticks{most: 9, smallest: 1}, ticks{most: 6}
	out.Add(plotter.NewGrid())
	for i, run := range runs {
		points := run.Series(field)
		if len(points) == 0 {
			continue
		}
		smooth := p.Smooth > 1 && field != "learning_rate"
		if smooth { // what was measured stays visible behind
			if err := addLine(out, points, faint(colours[i%len(colours)]), i); err != nil {
				return nil, err
			}
			points = average(points, p.Smooth)
		}
		if err := addLine(out, points, colours[i%len(colours)], i); err != nil {
			return nil, err
		}
	}
	if min, max := out.Y.Min, out.Y.Max; field == "sequences_per_s" && min > 0 {
		out.Y.Min, out.Y.Max = 0, max*1.05 // a dip of some percent should not look like a fall to nothing
	}
	return out, markPhases(out, runs)
}

// markPhases draws a line where a phase begins.
func markPhases(p *plot.Plot, runs []*Run) error {
	for _, run := range runs {
		for _, x := range run.starts {
			line, err := plotter.NewLine(plotter.XYs{{X: x, Y: p.Y.Min}, {X: x, Y: p.Y.Max}})
			if err != nil {
				return err
			}
			line.LineStyle = draw.LineStyle{Color: color.Gray{120}, Width: vg.Points(0.8), Dashes: []vg.Length{vg.Points(3), vg.Points(3)}}
			p.Add(line)
		}
	}
	return nil
}

func addLine(p *plot.Plot, points plotter.XYs, c color.Color, i int) error {
	line, err := plotter.NewLine(thin(points, mostPoints))
	if err != nil {
		return err
	}
	line.LineStyle = style(c, i)
	p.Add(line)
	return nil
}

// style is that of the i-th run: when the colours are used up, the lines are dashed.
func style(c color.Color, i int) draw.LineStyle {
	s := draw.LineStyle{Color: c, Width: vg.Points(1.2)}
	if turn := i / len(colours); turn > 0 {
		s.Dashes = []vg.Length{vg.Points(6 / float64(turn)), vg.Points(2)}
	}
	return s
}

func legend(labels []string) *plot.Legend {
	l := plot.NewLegend()
	l.Top, l.Left = true, true
	l.ThumbnailWidth = vg.Centimeter
	for i, label := range labels {
		l.Add(label, &plotter.Line{LineStyle: style(colours[i%len(colours)], i)})
	}
	return &l
}

// average returns the exponentially weighted mean of the points up to each; with a point at each step it has the mean age of one over n steps.
// The first points are means of what there is, not drawn towards zero.
func average(points plotter.XYs, n int) plotter.XYs {
	keep := 1 - 2/float64(n+1)
	out := make(plotter.XYs, len(points))
	sum, weight := 0.0, 0.0
	for i, p := range points {
		fall := math.Pow(keep, p.X-points[max(0, i-1)].X)
		sum, weight = fall*sum+p.Y, fall*weight+1
		out[i] = plotter.XY{X: p.X, Y: sum / weight}
	}
	return out
}

// thin keeps the lowest and the highest point of each stretch, so that a long run's picture stays small and its spikes stay visible.
func thin(points plotter.XYs, most int) plotter.XYs {
	if len(points) <= most {
		return points
	}
	var out plotter.XYs
	stretches := most / 2
	for i := range stretches {
		part := points[i*len(points)/stretches : (i+1)*len(points)/stretches]
		low, high := 0, 0
		for j, p := range part {
			if p.Y < part[low].Y {
				low = j
			}
			if p.Y > part[high].Y {
				high = j
			}
		}
		out = append(out, part[min(low, high)])
		if low != high {
			out = append(out, part[max(low, high)])
		}
	}
	return out
}

func faint(c color.RGBA) color.Color { return color.NRGBA{c.R, c.G, c.B, 70} }

// colours can be told apart by most colour-blind readers (Okabe and Ito).
var colours = []color.RGBA{{0, 114, 178, 255}, {213, 94, 0, 255}, {0, 158, 115, 255}, {204, 121, 167, 255}, {230, 159, 0, 255}, {86, 180, 233, 255}}
