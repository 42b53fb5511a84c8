package jenkins

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"unicode"

	"github.com/gatewarden/gatewarden"
)

type queueItem struct {
	Why        string     `json:"why"` // localized: for people only
	Cancelled  bool       `json:"cancelled"`
	Actions    parameters `json:"actions"`
	Task       task       `json:"task"`
	Executable struct {
		Number int `json:"number"`
	} `json:"executable"` // null for a moment after the item left the queue
}

// task is what an item waits to become a build of.
type task struct {
	URL string `json:"url"`
}

func queueItemTree() url.Values {
	return url.Values{"tree": {"why,cancelled,executable[number],task[url],actions[parameters[name,value]]"}}
}

// isOf reports whether the item is a job's, for an action. A Jenkins that was killed gives
// out numbers once more: the number alone may lead to anybody's item.
func (it *queueItem) isOf(job, id string) bool {
	return it.Actions.action() == id && isJob(it.Task.URL, job)
}

type build struct {
	Number   int        `json:"number"`
	Building bool       `json:"building"`
	Result   string     `json:"result"`
	Duration int64      `json:"duration"` // in milliseconds
	Actions  parameters `json:"actions"`
}

func buildTree() url.Values {
	return url.Values{"tree": {"number,building,result,duration,actions[parameters[name,value]]"}}
}

// ended reports whether the build is over. Building first: a pipeline can have a result
// long before it ends.
func (b *build) ended() bool { return !b.Building && b.Result != "" }

// foreign reports whether the build is not that of an action. One that has just begun may
// have no parameters yet.
func (b *build) foreign(id string) bool {
	of := b.Actions.action()
	return of != id && (of != "" || b.ended())
}

// What is shown of a console, and what is read to find it.
const (
	tailLines = 40
	tailBytes = 8 << 10
	tailRead  = 32 << 10 // notes and escape sequences are cut out of it
)

// consoleTail returns the last lines of a build's console. Of a long one only the
// end is fetched: the first request is for the header with the size.
func (c *client) consoleTail(ctx context.Context, buildPath string) (string, error) {
	path := buildPath + "/logText/progressiveText"
	ans, err := c.getText(ctx, path, 0)
	if err != nil {
		return "", err
	}
	size, err := strconv.ParseInt(ans.header.Get("X-Text-Size"), 10, 64)
	if err == nil && size > tailRead {
		if ans, err = c.getText(ctx, path, size-tailRead); err != nil {
			return "", err
		}
	}
	return c.redact(lastLines(string(ans.body))), nil
}

func (c *client) getText(ctx context.Context, path string, start int64) (*answer, error) {
	ans, _, err := c.send(ctx, http.MethodGet, path, url.Values{"start": {strconv.FormatInt(start, 10)}}, nil, tailRead)
	if err != nil {
		return nil, err
	}
	if ans.status != http.StatusOK {
		return nil, c.refusal(path, ans)
	}
	if t := ans.header.Get("Content-Type"); !strings.HasPrefix(t, "text/plain") {
		return nil, gatewarden.Errorf(gatewarden.Unavailable, "Jenkins answered %q instead of a console", t)
	}
	return ans, nil
}

// lastLines returns the last lines of a text that fit, whole ones unless the last
// is longer than all that fits.
func lastLines(text string) string {
	lines := strings.Split(strings.TrimRight(printable(text), "\n"), "\n")
	if len(lines) > tailLines {
		lines = lines[len(lines)-tailLines:]
	}
	out := strings.Join(lines, "\n")
	if len(out) <= tailBytes {
		return out
	}
	out = strings.ToValidUTF8(out[len(out)-tailBytes:], "")
	if _, rest, ok := strings.Cut(out, "\n"); ok {
		out = rest
	}
	return out
}

// printable takes out of a text what a terminal or a page would act on: escape
// sequences, Jenkins' own notes (which are such sequences) and control characters.
func printable(text string) string {
	var b strings.Builder
	runes := []rune(strings.ToValidUTF8(text, "�"))
	for i := 0; i < len(runes); i++ {
		switch c := runes[i]; {
		case c == '\x1b':
			i = skipEscape(runes, i)
		case c == '\n' || c == '\t' || !unicode.IsControl(c):
			b.WriteRune(c)
		}
	}
	return b.String()
}

// skipEscape returns the index of the last rune of the escape sequence at i: of
// "ESC [ ... letter", of Jenkins' notes "ESC [8mha: ... ESC [0m", or of ESC alone.
func skipEscape(runes []rune, i int) int {
	if i+1 >= len(runes) || runes[i+1] != '[' {
		return i
	}
	end := i + 2
	for end < len(runes) && !unicode.IsLetter(runes[end]) && runes[end] != '\n' {
		end++
	}
	if !strings.HasPrefix(string(runes[i:min(len(runes), i+8)]), "\x1b[8mha:") {
		return min(end, len(runes)-1)
	}
	for j := end; j+3 < len(runes) && runes[j] != '\n'; j++ {
		if string(runes[j:j+4]) == "\x1b[0m" {
			return j + 3
		}
	}
	return min(end, len(runes)-1)
}
