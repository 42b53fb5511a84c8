package rules

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"go.yaml.in/yaml/v3"

	"github.com/gatewarden/gatewarden"
)

// hasProblemIn reports whether something is wrong with a key or a value of a mapping
// already: what is missing from it may then be what is wrong.
func (d *document) hasProblemIn(n *yaml.Node) bool {
	if n == nil {
		return false
	}
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	return slices.ContainsFunc(n.Content, func(child *yaml.Node) bool {
		return slices.ContainsFunc(d.problems, func(p Problem) bool {
			return p.Severity == SeverityError && p.Line == child.Line && p.Column == child.Column
		})
	})
}

func (d *document) errorf(at *yaml.Node, hint, format string, args ...any) {
	d.add(SeverityError, at, hint, fmt.Sprintf(format, args...))
}

// reject reports a value that can't be read at all.
func (d *document) reject(at *yaml.Node, hint, format string, args ...any) {
	d.errorf(at, hint, format, args...)
	d.failed[at] = true
}

func (d *document) warnf(at *yaml.Node, hint, format string, args ...any) {
	d.add(SeverityWarning, at, hint, fmt.Sprintf(format, args...))
}

// fail rejects a value for the reason err; of a gatewarden.Error the hint is shown too.
func (d *document) fail(at *yaml.Node, prefix string, err error) {
	if e, ok := errors.AsType[*gatewarden.Error](err); ok {
		d.reject(at, e.Hint, "%s%s", prefix, e.Message)
		return
	}
	d.reject(at, "", "%s%s", prefix, err)
}

func (d *document) add(sev Severity, at *yaml.Node, hint, message string) {
	if at != nil && (d.failed[at] || d.failed[at.Alias]) {
		return
	}
	if len(d.problems) >= maxProblems {
		d.drop(sev)
		return
	}
	p := Problem{File: d.name, Severity: sev, Message: message, Hint: hint, caret: -1}
	if at != nil && at.Line > 0 {
		p.Line, p.Column = at.Line, max(at.Column, 1)
	}
	d.problems = append(d.problems, p)
}

// drop counts a problem beyond maxProblems.
func (d *document) drop(sev Severity) {
	if d.dropped++; d.droppedAs != SeverityError {
		d.droppedAs = sev
	}
}

// finish returns the problems, with their excerpts: those can only be cut when it is
// known which values are secret.
func (d *document) finish() Problems {
	redact := d.redactor()
	for i := range d.problems {
		p := &d.problems[i]
		if p.Line > 0 && p.Line <= len(d.lines) && len(d.lines[p.Line-1]) <= maxLine {
			p.Excerpt, p.caret = d.excerpt(p.Line, p.Column, redact)
		}
		p.Message, p.Hint = redact(p.Message), redact(p.Hint)
	}
	if d.dropped > 0 {
		d.problems = append(d.problems, Problem{
			File: d.name, Severity: d.droppedAs, caret: -1,
			Message: fmt.Sprintf("and %d more", d.dropped), Hint: "mend the first ones and look again",
		})
		d.dropped = 0
	}
	return Join(d.problems)
}

// redactor returns a function that replaces what must not be seen, the longest
// first, and makes the rest safe to print.
func (d *document) redactor() func(string) string {
	texts := sortedKeys(d.secrets)
	slices.SortStableFunc(texts, func(a, b string) int { return len(b) - len(a) })
	var pairs []string
	for _, text := range texts {
		shown := d.secrets[text]
		quoted := strconv.Quote(text)
		pairs = append(pairs, text, shown, quoted[1:len(quoted)-1], shown)
	}
	secrets := strings.NewReplacer(pairs...)
	return func(s string) string {
		return printable(userInfo.ReplaceAllString(secrets.Replace(s), "://"+gatewarden.Redacted+"@"))
	}
}

// userInfo is the part of a URL that may hold a password.
var userInfo = regexp.MustCompile(`://[^/@\s"']*@`)

// secretKey is a key that sounds like one of a secret, for lines of which nothing more
// is known; envValue a value after it that gives nothing away.
var (
	secretKey = regexp.MustCompile(`(?i)(?:token|passw(?:or)?d|secret|authorization|api[-_]?key|credentials?)["']?\s*[:=]\s*`)
	envValue  = regexp.MustCompile(`^["']?\$\{\w+\}["']?\s*(?:[,}\]#]|$)`)
)

// maskSecrets cuts a line at the first value of a key that sounds like a secret.
func maskSecrets(line string) string {
	for _, m := range secretKey.FindAllStringIndex(line, -1) {
		if rest := line[m[1]:]; rest != "" && !envValue.MatchString(rest) {
			return line[:m[1]] + gatewarden.Redacted
		}
	}
	return line
}

// hide keeps a text out of every message and excerpt of the document. A text of one
// or two characters is no secret, and replacing it would garble everything.
func (d *document) hide(text, shown string) {
	if len(text) > 2 && text != shown {
		d.secrets[text] = shown
	}
}

// excerpt returns a line as it may be shown, and where the column is in it.
func (d *document) excerpt(line, column int, redact func(string) string) (text string, caret int) {
	text = d.lines[line-1]
	for _, n := range d.hidden {
		runes := []rune(text)
		if n.Line == line && n.Column <= len(runes) {
			text = string(runes[:n.Column-1]) + gatewarden.Redacted
		}
	}
	text = maskSecrets(text)
	if line > 1 {
		// The value of a key may stand below it.
		above := strings.TrimRight(d.lines[line-2], " \t")
		if m := secretKey.FindStringIndex(above); m != nil && len(strings.Trim(above[m[1]:], "|>-+")) == 0 {
			text = gatewarden.Redacted
		}
	}
	runes, caret := []rune(redact(strings.TrimRightFunc(text, unicode.IsSpace))), column-1
	// A window of maxExcerpt characters around the column.
	if from := caret - maxExcerpt/2; from > 0 && len(runes) > maxExcerpt {
		from = min(from, max(len(runes)-maxExcerpt, 0))
		runes, caret = append([]rune("…"), runes[from:]...), caret-from+1
	} else {
		indent := len(runes) - len([]rune(strings.TrimLeft(string(runes), " \t")))
		indent = min(indent, caret)
		runes, caret = runes[indent:], caret-indent
	}
	if len(runes) > maxExcerpt {
		runes = append(runes[:maxExcerpt], '…')
	}
	return string(runes), min(caret, len(runes))
}

// printable replaces what could play tricks with a terminal or a log.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\t' || unicode.IsGraphic(r) {
			return r
		}
		if r == '\n' {
			return ' '
		}
		return unicode.ReplacementChar
	}, s)
}
