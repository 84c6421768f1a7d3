package jsonscan

// Events reads server-sent events (HTML Living Standard, 9.2.6) and gives the data of each to a Scanner. Use NewEvents.
type Events struct {
	scanner *Scanner
	state   line
	// name is the number of bytes of the field's name that are equal to dataField.
	name int
	// cr says that the last byte was a carriage return: a line feed after it ends no other line.
	cr bool
}

const dataField = "data"

type line byte

const (
	start   line = iota // of a line
	naming              // within the field's name
	begin               // after the colon of data
	data                // within the data
	ignored             // in another field, or a comment
)

// NewEvents returns a reader for the scanner's path.
func NewEvents(s *Scanner) *Events { return &Events{scanner: s} }

// Cost is Scanner.Cost.
func (e *Events) Cost() (cost int, found bool) { return e.scanner.Cost() }

// Write reads the next bytes.
func (e *Events) Write(p []byte) {
	for i := range p {
		c := p[i]
		if e.cr && c == '\n' {
			e.cr = false
			continue
		}
		if e.cr = c == '\r'; e.cr || c == '\n' {
			e.endLine()
			continue
		}
		e.read(c, p[i:i+1])
	}
}

func (e *Events) endLine() {
	switch e.state {
	case start: // an empty line ends the event
		e.scanner.restart()
	case begin, data:
		e.scanner.Write([]byte{'\n'})
	}
	e.state, e.name = start, 0
}

// read reads a byte of a line; piece is that byte.
func (e *Events) read(c byte, piece []byte) {
	switch e.state {
	case start, naming:
		switch {
		case e.name < len(dataField) && c == dataField[e.name]:
			e.state = naming
			e.name++
		case e.name == len(dataField) && c == ':':
			e.state = begin
		default:
			e.state = ignored
		}
	case begin:
		if e.state = data; c != ' ' {
			e.scanner.Write(piece)
		}
	case data:
		e.scanner.Write(piece)
	}
}
