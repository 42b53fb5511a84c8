package page_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"
)

// browser is a real browser without a screen, spoken to in the DevTools protocol over a
// pair of pipes: one JSON message, one zero byte.
type browser struct {
	t   testing.TB
	in  io.Writer
	id  int
	tab string // the session of the open tab

	mu      sync.Mutex
	answers map[int]chan answer
	events  []event
	gone    chan struct{}
}

type answer struct {
	Result json.RawMessage
	Error  *struct{ Message string }
}

type event struct {
	Method string
	Params json.RawMessage
}

// open starts a browser, or skips the test when there is none.
func open(t *testing.T, width, height int) *browser {
	t.Helper()
	path := os.Getenv("GATEWARDEN_BROWSER")
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"} {
		if found, err := exec.LookPath(name); path == "" && err == nil {
			path = found
		}
	}
	if path == "" {
		t.Skip("SKIPPED, NOTHING OF THE PAGE WAS LOOKED AT: there is no chromium or chrome on this machine; install one, or name it in GATEWARDEN_BROWSER")
	}
	args := []string{
		"--headless=new", "--remote-debugging-pipe", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-extensions",
		"--user-data-dir=" + t.TempDir(), fmt.Sprintf("--window-size=%d,%d", width, height), "--hide-scrollbars", "--lang=en-GB",
	}
	if os.Geteuid() == 0 {
		args = append(args, "--no-sandbox") // the sandbox refuses to run as root, which tests in containers do
	}
	theirIn, in, err := os.Pipe()
	check(t, err)
	out, theirOut, err := os.Pipe()
	check(t, err)
	cmd := exec.Command(path, append(args, "about:blank")...)
	cmd.ExtraFiles = []*os.File{theirIn, theirOut} // 3 and 4, where the protocol expects them
	check(t, cmd.Start())
	theirIn.Close()
	theirOut.Close()
	b := &browser{t: t, in: in, answers: map[int]chan answer{}, gone: make(chan struct{})}
	go b.listen(out)
	t.Cleanup(func() {
		_, _ = fmt.Fprint(in, `{"id":0,"method":"Browser.close"}`+"\x00")
		select {
		case <-b.gone:
		case <-time.After(10 * time.Second):
			_ = cmd.Process.Kill()
		}
		_ = cmd.Wait()
		in.Close()
		out.Close()
	})
	b.attach(width, height)
	return b
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// attach opens a tab of a size.
func (b *browser) attach(width, height int) {
	b.t.Helper()
	var target struct{ TargetID string }
	b.call("Target.createTarget", map[string]any{"url": "about:blank"}, &target)
	var session struct{ SessionID string }
	b.call("Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &session)
	b.tab = session.SessionID
	for _, domain := range []string{"Page", "Runtime", "Log", "Network"} {
		b.call(domain+".enable", nil, nil)
	}
	b.call("Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}, nil)
}

// listen hands out what the browser says.
func (b *browser) listen(out io.Reader) {
	defer close(b.gone)
	r := bufio.NewReaderSize(out, 1<<20)
	for {
		line, err := r.ReadBytes(0)
		if err != nil {
			return
		}
		var m struct {
			ID int
			answer
			event
		}
		if json.Unmarshal(bytes.TrimSuffix(line, []byte{0}), &m) != nil {
			continue
		}
		b.mu.Lock()
		if waiting, ok := b.answers[m.ID]; ok && m.ID > 0 {
			delete(b.answers, m.ID)
			waiting <- m.answer
		} else if m.Method != "" {
			b.events = append(b.events, m.event)
		}
		b.mu.Unlock()
	}
}

// call asks the browser to do something and decodes what it says.
func (b *browser) call(method string, params map[string]any, into any) {
	b.t.Helper()
	b.mu.Lock()
	b.id++
	message := map[string]any{"id": b.id, "method": method}
	if params != nil {
		message["params"] = params
	}
	if b.tab != "" {
		message["sessionId"] = b.tab
	}
	waiting := make(chan answer, 1)
	b.answers[b.id] = waiting
	b.mu.Unlock()
	text, err := json.Marshal(message)
	check(b.t, err)
	_, err = b.in.Write(append(text, 0))
	check(b.t, err)
	select {
	case a := <-waiting:
		if a.Error != nil {
			b.t.Fatalf("%s: %s", method, a.Error.Message)
		}
		if into != nil {
			check(b.t, json.Unmarshal(a.Result, into))
		}
	case <-b.gone:
		b.t.Fatalf("%s: the browser is gone", method)
	case <-time.After(30 * time.Second):
		b.t.Fatalf("%s: the browser does not answer", method)
	}
}

// visit opens the page at an address and waits until it shows something.
func (b *browser) visit(url string) {
	b.t.Helper()
	b.call("Page.navigate", map[string]any{"url": url}, nil)
	b.await("the page is there", `document.querySelector("main h1")`)
}

// eval runs JavaScript in the page and decodes its value; promises are waited for.
func (b *browser) eval(js string, into any) {
	b.t.Helper()
	var got struct {
		Result           struct{ Value json.RawMessage }
		ExceptionDetails *struct {
			Text      string
			Exception struct{ Description string }
		}
	}
	b.call("Runtime.evaluate", map[string]any{"expression": js, "awaitPromise": true, "returnByValue": true}, &got)
	if got.ExceptionDetails != nil {
		b.t.Fatalf("%s: %s %s", js, got.ExceptionDetails.Text, got.ExceptionDetails.Exception.Description)
	}
	if into != nil {
		check(b.t, json.Unmarshal(got.Result.Value, into))
	}
}

// patience bounds every wait for the page: what has not come by then does not come, however
// busy the machine is.
const patience = 2 * time.Minute

// await waits until a JavaScript expression is true.
func (b *browser) await(what, js string) {
	b.t.Helper()
	for end := time.Now().Add(patience); ; {
		var ok bool
		b.eval("!!("+js+")", &ok)
		if ok {
			return
		}
		if time.Now().After(end) {
			b.t.Fatalf("waited in vain: %s\nthe page says:\n%s", what, b.text("body"))
		}
		b.eval("new Promise(done => setTimeout(done, 50))", nil)
	}
}

// text returns what an element shows.
func (b *browser) text(selector string) string {
	var s string
	b.eval(fmt.Sprintf("document.querySelector(%q)?.innerText ?? ''", selector), &s)
	return s
}

// press presses the first button or link in scope that is called so.
func (b *browser) press(scope, name string) {
	b.t.Helper()
	find := fmt.Sprintf(`[...document.querySelectorAll(%q)].flatMap(e => [...e.querySelectorAll("button, a")]).find(e => e.innerText.trim() === %q && !e.disabled)`, scope, name)
	b.await("there is "+name+" in "+scope, find)
	b.eval(find+".click()", nil)
}

// complaints are errors that the page or the browser met: exceptions, refused contents.
func (b *browser) complaints() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var list []string
	for _, e := range b.events {
		switch e.Method {
		case "Runtime.exceptionThrown":
			list = append(list, string(e.Params))
		case "Log.entryAdded":
			if bytes.Contains(e.Params, []byte(`"level":"error"`)) {
				list = append(list, string(e.Params))
			}
		}
	}
	return list
}
