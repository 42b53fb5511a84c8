package posts

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gatewarden/gatewarden/internal/sourcetest"
)

// echo answers with the length of the body and by which road it came. It does not take a
// body of "bad" by the short road, and panics at "panic".
type echo struct {
	entered chan struct{} // told of each post, if set
	release chan struct{} // and waited for
	lent    atomic.Int32  // buffers that were not given back
}

func (e *echo) Post(_ context.Context, body, answer []byte, _ net.Addr) ([]byte, bool) {
	if e.entered != nil {
		e.entered <- struct{}{}
		<-e.release
	}
	switch strings.TrimRight(string(body), ".") {
	case "bad":
		return append(answer, "half an answer"...), false
	case "panic":
		panic("as asked for")
	}
	return fmt.Appendf(answer, "here %d\n", len(body)), true
}

// Buffer has none for a body of 9999 bytes.
func (e *echo) Buffer(n int) ([]byte, func()) {
	if n == 9999 {
		return nil, nil
	}
	e.lent.Add(1)
	return make([]byte, n), func() { e.lent.Add(-1) }
}

func (e *echo) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	fmt.Fprintf(w, "net/http %d\n", len(body))
}

// started is a server behind a Listener.
type started struct {
	*Listener
	server *http.Server
	log    *lines
	reg    *prometheus.Registry
}

// lines is a log.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// config is that of a Listener of at most so many connections.
func config(limit int, log *slog.Logger) Config {
	return Config{MaxConnections: limit, Log: log, Metrics: prometheus.NewRegistry(), Now: time.Now}
}

func start(t testing.TB, h http.Handler) *started {
	t.Helper()
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return serveOn(t, l, h)
}

// serveOn starts a server on the connections of l.
func serveOn(t testing.TB, l net.Listener, h http.Handler) *started {
	t.Helper()
	mux := http.NewServeMux()
	mux.Handle("/log", h)
	mux.Handle("/other", http.NotFoundHandler())
	s := &started{log: &lines{}, server: &http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}, reg: prometheus.NewRegistry()}
	cfg := config(2, slog.New(slog.NewTextHandler(s.log, nil)))
	cfg.Metrics = s.reg
	s.Listener = Listen(l, mux, cfg)
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := s.server.Serve(s.Listener); !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
			t.Errorf("the server ended with %v", err)
		}
	})
	t.Cleanup(func() {
		if err := s.server.Close(); err != nil {
			t.Error(err)
		}
		serving.Wait()
	})
	return s
}

// dial connects to the server.
func (s *started) dial(t testing.TB) net.Conn {
	t.Helper()
	var d net.Dialer
	c, err := d.DialContext(t.Context(), "tcp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return c
}

func send(t testing.TB, c net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
}

// answer reads an answer and returns its status and body.
func answer(t testing.TB, r *bufio.Reader) string {
	t.Helper()
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatalf("no answer: %v", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if resp.Header.Get("Date") == "" {
		t.Error("an answer has no Date")
	}
	return fmt.Sprint(resp.StatusCode, " ", strings.TrimSpace(string(body)))
}

// kongs is what Kong 3.9's http-log was seen to send before the body.
func kongs(length int) string {
	return fmt.Sprintf("POST /log HTTP/1.1\r\nUser-Agent: lua-resty-http/0.17.2 (Lua) ngx_lua/10026\r\nContent-Length: %d\r\n"+
		"Host: 127.0.0.1:9204\r\nContent-Type: application/json\r\n\r\n", length)
}

func TestRoads(t *testing.T) {
	t.Parallel()
	const head = "POST /log HTTP/1.1\r\nHost: guard\r\n"
	for name, c := range map[string]struct{ sent, want string }{
		"as Kong sends it":                       {kongs(5) + "hello", "200 here 5"},
		"without a body":                         {kongs(0), "200 here 0"},
		"the largest in one piece":               {kongs(Room-len(kongs(Room))) + strings.Repeat("x", Room-len(kongs(Room))), fmt.Sprint("200 here ", Room-len(kongs(Room)))},
		"one byte larger":                        {kongs(Room-len(kongs(Room))+1) + strings.Repeat("x", Room-len(kongs(Room))+1), fmt.Sprint("200 here ", Room-len(kongs(Room))+1)},
		"a batch":                                {kongs(200_000) + strings.Repeat("x", 200_000), "200 here 200000"},
		"the largest batch":                      {kongs(Largest) + strings.Repeat("x", Largest), fmt.Sprint("200 here ", Largest)},
		"a batch that is larger":                 {kongs(Largest+1) + strings.Repeat("x", Largest+1), fmt.Sprint("200 net/http ", Largest+1)},
		"a batch that there is no memory for":    {kongs(9999) + strings.Repeat("x", 9999), "200 net/http 9999"},
		"a batch that the handler does not take": {kongs(20_000) + "bad" + strings.Repeat(".", 19_997), "200 net/http 20000"},
		"with a connection that is kept":         {head + "Connection: Keep-Alive\r\ncontent-length:2\r\n\r\nhi", "200 here 2"},
		"a body that the handler does not take":  {kongs(3) + "bad", "200 net/http 3"},
		"chunks":                                 {head + "Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", "200 net/http 2"},
		"chunks and a length":                    {head + "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", "200 net/http 2"},
		"a connection that is to end":            {head + "Connection: close\r\nContent-Length: 2\r\n\r\nhi", "200 net/http 2"},
		"HTTP/1.0":                               {"POST /log HTTP/1.0\r\nContent-Length: 2\r\n\r\nhi", "200 net/http 2"},
		"PUT":                                    {"PUT /log HTTP/1.1\r\nHost: guard\r\nContent-Length: 2\r\n\r\nhi", "200 net/http 2"},
		"GET":                                    {"GET /log HTTP/1.1\r\nHost: guard\r\n\r\n", "200 net/http 0"},
		"an encoding":                            {head + "Content-Encoding: identity\r\nContent-Length: 2\r\n\r\nhi", "200 net/http 2"},
		"a length twice, the same":               {head + "Content-Length: 2\r\nContent-Length: 2\r\n\r\nhi", "200 net/http 2"},
		"lengths that differ":                    {head + "Content-Length: 2\r\nContent-Length: 3\r\n\r\nhi", "400 400 Bad Request"},
		"a length with a sign":                   {head + "Content-Length: +2\r\n\r\nhi", "400 400 Bad Request"},
		"no host":                                {"POST /log HTTP/1.1\r\nContent-Length: 2\r\n\r\nhi", "400 400 Bad Request: missing required Host header"},
		"a field without a colon":                {head + "Content-Length 2\r\n\r\n", "400 400 Bad Request"},
		"a space before the colon":               {head + "Content-Length : 2\r\n\r\nhi", "400 400 Bad Request: invalid header name"},
		"a field over two lines":                 {head + "X-A: b\r\n c\r\nContent-Length: 2\r\n\r\nhi", "200 net/http 2"},
		"lines that end in a line feed":          {"POST /log HTTP/1.1\nHost: guard\nContent-Length: 2\n\nhi", "200 net/http 2"},
		"a control character":                    {head + "X-A: b\x01\r\nContent-Length: 2\r\n\r\nhi", "400 400 Bad Request"},
		"a path that nobody listens at":          {"POST /nowhere HTTP/1.1\r\nHost: guard\r\nContent-Length: 2\r\n\r\nhi", "404 404 page not found"},
		"a handler that knows no short road":     {"POST /other HTTP/1.1\r\nHost: guard\r\nContent-Length: 2\r\n\r\nhi", "404 404 page not found"},
		"a query":                                {"POST /log?a=b HTTP/1.1\r\nHost: guard\r\nContent-Length: 2\r\n\r\nhi", "200 net/http 2"},
		"a path with an escape":                  {"POST /l%6fg HTTP/1.1\r\nHost: guard\r\nContent-Length: 2\r\n\r\nhi", "200 net/http 2"},
		"a whole address, as a proxy is sent it": {"POST http://guard/log HTTP/1.1\r\nHost: guard\r\nContent-Length: 2\r\n\r\nhi", "200 net/http 2"},
		"not HTTP":                               {"\x16\x03\x01\x02\x00 hello\r\n\r\n", "400 400 Bad Request"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn := start(t, &echo{}).dial(t)
			var writing sync.WaitGroup
			writing.Go(func() { _, _ = io.WriteString(conn, c.sent) }) // a refusal may come before all is sent
			defer writing.Wait()
			r := bufio.NewReader(conn)
			resp, err := http.ReadResponse(r, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			if got := fmt.Sprint(resp.StatusCode, " ", strings.TrimSpace(string(body))); got != c.want || err != nil {
				t.Errorf("answer %q, %v, want %q", got, err, c.want)
			}
		})
	}
}

// pipes is a listener whose connections give each Read what one Write has sent.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error { close(p.closed); return nil }

func (p *pipes) Addr() net.Addr { return &net.UnixAddr{} }

// piped starts a server behind pipes.
func piped(t *testing.T, h http.Handler) (*pipes, *started) {
	t.Helper()
	p := &pipes{conns: make(chan net.Conn), closed: make(chan struct{})}
	return p, serveOn(t, p, h)
}

// connect returns a connection to a server behind pipes.
func (p *pipes) connect(t *testing.T) net.Conn {
	t.Helper()
	ours, theirs := net.Pipe()
	p.conns <- theirs
	t.Cleanup(func() { ours.Close() })
	return ours
}

func pipe(t *testing.T, h http.Handler) net.Conn {
	t.Helper()
	p, _ := piped(t, h)
	return p.connect(t)
}

// The listener is on all interfaces and asks for no password.
func TestThereAreNotMoreConnectionsThanThereMayBe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, s := piped(t, &echo{})
		refused := func(c net.Conn) bool {
			synctest.Wait()
			err := c.SetReadDeadline(time.Now().Add(time.Second))
			if err == nil {
				_, err = c.Read(make([]byte, 1))
			}
			return !errors.Is(err, os.ErrDeadlineExceeded)
		}
		open := func(want float64) {
			t.Helper()
			synctest.Wait()
			if n := sourcetest.Metric(t, s.reg, "gatewarden_posts_connections"); n != want {
				t.Errorf("%v connections are open, want %v", n, want)
			}
		}
		here, there := p.connect(t), p.connect(t)
		send(t, there, kongs(3)+"bad") // net/http's from now on
		answer(t, bufio.NewReader(there))
		if refused(here) || refused(there) || !refused(p.connect(t)) || !refused(p.connect(t)) {
			t.Error("not the third and the fourth are refused")
		}
		if n := sourcetest.Metric(t, s.reg, "gatewarden_posts_connections_refused_total"); n != 2 || strings.Count(s.log.String(), "there are too many") != 1 {
			t.Errorf("%v refused connections are counted; the log: %s", n, s.log)
		}
		open(2)
		here.Close()
		open(1)
		if refused(p.connect(t)) {
			t.Error("one has ended, and another is refused")
		}
		there.Close()
		open(1)
		if refused(p.connect(t)) {
			t.Error("one of net/http's has ended, and another is refused")
		}
	})
}

func TestWhoReadsNoAnswerIsNotWaitedForForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn := pipe(t, &echo{})
		send(t, conn, kongs(1)+"x")
		time.Sleep(idleFor + time.Second)
		synctest.Wait()
		err := conn.SetDeadline(time.Now().Add(time.Second))
		if err == nil {
			_, err = conn.Write([]byte("x"))
		}
		if !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("the connection is still there: %v", err)
		}
	})
}

func TestWhereverAPostIsCutItIsAnswered(t *testing.T) {
	post := kongs(5) + "hello"
	conn := pipe(t, &echo{})
	r := bufio.NewReader(conn)
	for at := 1; at < len(post); at++ {
		send(t, conn, post[:at])
		send(t, conn, post[at:])
		if got := answer(t, r); got != "200 here 5" {
			t.Fatalf("cut at byte %d: %q", at, got)
		}
	}
}

func TestWhoIsSlowIsNetHTTPs(t *testing.T) {
	conn := pipe(t, &echo{})
	r := bufio.NewReader(conn)
	send(t, conn, kongs(1)+"x")
	if got := answer(t, r); got != "200 here 1" {
		t.Fatal(got)
	}
	for _, b := range kongs(5) + "hello" {
		send(t, conn, string(b))
	}
	if got := answer(t, r); got != "200 net/http 5" {
		t.Errorf("a byte at a time: %q", got)
	}
}

func TestPostsInARow(t *testing.T) {
	s := start(t, &echo{})
	conn := s.dial(t)
	send(t, conn, strings.Repeat(kongs(5)+"hello", 100)+kongs(3)+"bad"+strings.Repeat(kongs(4)+"more", 3))
	r := bufio.NewReader(conn)
	for i := range 104 {
		want := "200 here 5"
		switch {
		case i == 100:
			want = "200 net/http 3"
		case i > 100:
			want = "200 net/http 4" // from then on the connection is net/http's
		}
		if got := answer(t, r); got != want {
			t.Fatalf("answer %d is %q, want %q", i, got, want)
		}
	}
}

func TestAPanicClosesItsConnectionOnly(t *testing.T) {
	s := start(t, &echo{})
	conn := s.dial(t)
	send(t, conn, kongs(5)+"panic")
	if n, err := conn.Read(make([]byte, 1)); n != 0 || err == nil {
		t.Errorf("read %d bytes, %v, want a closed connection", n, err)
	}
	if !strings.Contains(s.log.String(), "as asked for") {
		t.Errorf("the log does not say why: %s", s.log)
	}
	conn = s.dial(t)
	send(t, conn, kongs(5)+"hello")
	if got := answer(t, bufio.NewReader(conn)); got != "200 here 5" {
		t.Error(got)
	}
}

func TestCloseWaitsForThePostsThatAreBeingAnswered(t *testing.T) {
	e := &echo{entered: make(chan struct{}), release: make(chan struct{})}
	s := start(t, e)
	waiting, busy := s.dial(t), s.dial(t)
	send(t, busy, kongs(5)+"hello")
	<-e.entered
	closed := make(chan error)
	go func() { closed <- s.Close() }()
	if n, err := waiting.Read(make([]byte, 1)); n != 0 || err == nil {
		t.Errorf("read %d bytes, %v, of a connection that waits, want it to be closed", n, err)
	}
	select {
	case <-closed:
		t.Error("closed before a post was answered")
	default:
	}
	close(e.release)
	r := bufio.NewReader(busy)
	if got := answer(t, r); got != "200 here 5" {
		t.Errorf("the post that was being answered: %q", got)
	}
	if err := <-closed; err != nil {
		t.Error(err)
	}
	if _, err := r.ReadByte(); err == nil {
		t.Error("its connection stays open")
	}
	if err := s.Close(); err != nil {
		t.Errorf("closed twice: %v", err)
	}
}

func TestAServerThatShutsDownEndsIt(t *testing.T) {
	s := start(t, &echo{})
	here, there := s.dial(t), s.dial(t)
	send(t, here, kongs(1)+"x")
	send(t, there, kongs(3)+"bad")
	answer(t, bufio.NewReader(here))
	answer(t, bufio.NewReader(there))
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := s.server.Shutdown(ctx); err != nil {
		t.Error(err)
	}
	for name, c := range map[string]net.Conn{"answered here": here, "given to net/http": there} {
		if n, err := c.Read(make([]byte, 1)); n != 0 || err == nil {
			t.Errorf("the connection %s stays open", name)
		}
	}
}

func TestALargePostMayComeInPieces(t *testing.T) {
	e := &echo{}
	conn := pipe(t, e)
	r := bufio.NewReader(conn)
	post := kongs(100_000) + strings.Repeat("x", 100_000)
	for _, piece := range []int{1_000, 50_000, len(post)} {
		for rest := post; rest != ""; rest = rest[min(piece, len(rest)):] {
			send(t, conn, rest[:min(piece, len(rest))])
		}
		if got := answer(t, r); got != "200 here 100000" {
			t.Fatalf("in pieces of %d bytes: %q", piece, got)
		}
	}
	send(t, conn, kongs(5)+"hello")
	if got := answer(t, r); got != "200 here 5" {
		t.Errorf("a small one after large ones: %q", got)
	}
	if n := e.lent.Load(); n != 0 {
		t.Errorf("%d buffers were not given back", n)
	}
}

func TestALargePostThatIsCutIsNotAnswered(t *testing.T) {
	for name, sent := range map[string]string{
		"in its body":     kongs(100_000) + strings.Repeat("x", 99_999),
		"after its head":  kongs(100_000),
		"by a panic":      kongs(100_000) + "panic" + strings.Repeat(".", 99_995),
		"before its head": kongs(100_000)[:50],
	} {
		t.Run(name, func(t *testing.T) {
			e := &echo{}
			conn := start(t, e).dial(t)
			send(t, conn, sent)
			if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(conn)
			if err != nil {
				t.Fatal(err)
			}
			if bytes.Contains(got, []byte("200 OK")) {
				t.Errorf("answer %q", got)
			}
			if n := e.lent.Load(); n != 0 {
				t.Errorf("%d buffers were not given back", n)
			}
		})
	}
}

// A connection that net/http has is net/http's to close, however soon after it was handed on
// the listener is closed: what it brought would be counted, and the answer lost.
func TestAConnectionThatWasHandedOnIsNotClosedByAStop(t *testing.T) {
	here, there := net.Pipe()
	defer here.Close()
	l := &Listener{others: make(chan net.Conn, 1), closed: make(chan struct{})}
	c := &conn{Conn: there, listener: l}
	c.give()
	c.stop()
	given := <-l.others
	defer given.Close()
	go func() { _, _ = here.Write([]byte("x")) }()
	if n, err := given.Read(make([]byte, 1)); n != 1 || err != nil {
		t.Errorf("net/http reads %d bytes, %v", n, err)
	}
}

// A connection that a stop has closed is handed on to nobody.
func TestAConnectionThatWasStoppedIsNotHandedOn(t *testing.T) {
	here, there := net.Pipe()
	defer here.Close()
	l := &Listener{others: make(chan net.Conn, 1), closed: make(chan struct{})}
	c := &conn{Conn: there, listener: l}
	c.stop()
	c.give()
	if len(l.others) != 0 {
		t.Error("it was")
	}
}

// broken is a listener whose Accept fails, once without need.
type broken struct {
	net.Listener
	errs chan error
}

func (b *broken) Accept() (net.Conn, error) { return nil, <-b.errs }

func TestErrorsOfAcceptAreTold(t *testing.T) {
	var lc net.ListenConfig
	inner, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &broken{inner, make(chan error, 2)}
	l := Listen(b, http.NewServeMux(), config(1, slog.New(slog.DiscardHandler)))
	for _, want := range []error{errors.New("too many open files"), net.ErrClosed} {
		b.errs <- want
		if _, err := l.Accept(); !errors.Is(err, want) {
			t.Errorf("Accept says %v, want %v", err, want)
		}
	}
	b.errs <- net.ErrClosed
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept says %v after Close", err)
	}
}
