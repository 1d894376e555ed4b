package bzip2

// invert undoes the sorting of rotations: text becomes the text whose rotation is row origin. Each step of a walk along next or prev waits
// for memory, so it walks from both ends of the text at once.
func (d *decoder) invert(origin int) {
	if len(d.next) < d.size {
		n := min(2*d.size, maxBlock)
		d.next, d.prev = make([]uint32, n), make([]uint32, n)
	}
	text, next, prev := d.text[:d.size], d.next[:d.size], d.prev[:d.size]
	var rows [256]uint32
	for _, b := range text {
		rows[b]++
	}
	sum := uint32(0)
	for b, n := range rows {
		rows[b] = sum
		sum += n
	}
	for i, b := range text {
		row := rows[b]
		rows[b]++
		next[row] = uint32(i)<<8 | uint32(b)
		prev[i] = row<<8 | uint32(b)
	}
	forward, backward := uint32(origin), uint32(origin)
	i, j := 0, len(text)-1
	for ; i < j; i, j = i+1, j-1 {
		f, b := next[forward], prev[backward]
		text[i], text[j] = uint8(f), uint8(b)
		forward, backward = f>>8, b>>8
	}
	if i == j {
		f := next[forward]
		text[i] = uint8(f)
		forward = f >> 8
	}
	if forward == backward {
		return
	}
	// Not the sorted rotations of anything: the rows fall into several cycles. bzip2 goes forward.
	forward = uint32(origin)
	for i := range text {
		f := next[forward]
		text[i] = uint8(f)
		forward = f >> 8
	}
}
