package posts

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"testing"
)

// FuzzReadHead holds readHead to net/http: what it calls a plain post, net/http reads as
// the same post, and leaves as many bytes behind it.
func FuzzReadHead(f *testing.F) {
	for _, seed := range []string{
		kongs(5) + "hello", kongs(0), kongs(Room), kongs(Largest), kongs(Largest + 1), kongs(2) + "hi" + kongs(2) + "hi", kongs(9) + "hello",
		"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx",
		"POST /a.b/c_d-e HTTP/1.1\r\nHost: [::1]:80\r\ncontent-length:\t07 \r\nconnection: keep-alive\r\n\r\n0123456",
		"POST /./a HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", "POST //a HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
		"POST /a HTTP/1.1\r\nHost: a\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
		"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
		"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nX: \x00\r\n\r\nx", "POST /a HTTP/1.1\r\nHost: a\nContent-Length: 1\r\n\r\nx",
		"POST /a HTTP/1.1\r\n\r\n", "GET / HTTP/1.1\r\n\r\n", "POST",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		h, v := readHead(b)
		if v != whole && v != large {
			return
		}
		r := bufio.NewReaderSize(bytes.NewReader(b), len(b)+16)
		req, err := http.ReadRequest(r)
		if err != nil {
			t.Fatalf("net/http refuses it: %v", err)
		}
		if req.ContentLength != int64(h.length) {
			t.Fatalf("net/http reads a length of %d, want %d", req.ContentLength, h.length)
		}
		body, err := io.ReadAll(req.Body)
		if v == large && err != nil {
			return // it may be there in part only
		}
		if err != nil {
			t.Fatalf("net/http cannot read the body: %v", err)
		}
		left, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		if req.Method != http.MethodPost || !req.ProtoAtLeast(1, 1) || req.URL.Path != string(h.path) || req.RequestURI != string(h.path) ||
			req.Host != string(h.host) || len(req.TransferEncoding) > 0 || req.Close || req.Header.Get("Content-Encoding") != "" || req.Header.Get("Expect") != "" {
			t.Errorf("net/http reads %s %s of %s, close %t, %v", req.Method, req.RequestURI, req.Host, req.Close, req.Header)
		}
		if end := h.end + h.length; !bytes.Equal(body, b[h.end:end]) || !bytes.Equal(left, b[end:]) {
			t.Errorf("net/http reads a body of %d bytes and leaves %d, want %d and %d", len(body), len(left), h.length, len(b)-end)
		}
	})
}
