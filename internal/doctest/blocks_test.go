package doctest

import (
	"regexp"
	"strings"
)

// block is a piece of code in a document: fenced, or indented by four spaces.
type block struct {
	file string // of the document
	line int    // where it begins, from 1
	info string // what stands behind the fence; "" for an indented one
	text string
}

var fence = regexp.MustCompile("^ {0,3}(```+)\\s*(.*?)\\s*$")

// blocks returns the code of a Markdown text, in order.
func blocks(file, text string) []block {
	var (
		all    []block
		open   *block
		closer string
		blank  = true // the line before is blank, so that an indented block may begin
	)
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		m := fence.FindStringSubmatch(line)
		indented := closer == "" && strings.HasPrefix(line, "    ") && strings.TrimSpace(line) != ""
		switch {
		case closer != "" && m != nil && m[1] == closer && m[2] == "":
			all = append(all, *open)
			open, closer = nil, ""
		case closer != "":
			open.text += line + "\n"
		case m != nil:
			if open != nil {
				all = append(all, *open)
			}
			open, closer = &block{file: file, line: i + 1, info: m[2]}, m[1]
		case indented && (open != nil || blank):
			if open == nil {
				open = &block{file: file, line: i + 1}
			}
			open.text += line[4:] + "\n"
		case open != nil && strings.TrimSpace(line) != "":
			all = append(all, *open)
			open = nil
		}
		blank = strings.TrimSpace(line) == ""
	}
	if open != nil {
		all = append(all, *open)
	}
	return all
}

// prose returns the text without its code, with as many lines.
func prose(file, text string) string {
	lines := strings.Split(text, "\n")
	for _, b := range blocks(file, text) {
		n := strings.Count(b.text, "\n")
		if b.info != "" || strings.HasPrefix(strings.TrimSpace(lines[b.line-1]), "```") {
			n += 2
		}
		for i := b.line - 1; i < min(b.line-1+n, len(lines)); i++ {
			lines[i] = ""
		}
	}
	return strings.Join(lines, "\n")
}

// rows returns the cells of each row of the tables in a text, headings and the lines
// under them among them. A bar behind a backslash is no border.
func rows(text string) [][]string {
	var all [][]string
	for line := range strings.SplitSeq(text, "\n") {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "|") || !strings.HasSuffix(line, "|") {
			continue
		}
		line = strings.ReplaceAll(strings.Trim(line, "|"), `\|`, "\x00")
		cells := strings.Split(line, "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(strings.ReplaceAll(cells[i], "\x00", "|"))
		}
		all = append(all, cells)
	}
	return all
}
