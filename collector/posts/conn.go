package posts

import (
	"io"
	"net"
	"net/http"
	"net/url"
	"runtime/debug"
	"slices"
	"strconv"
	"sync/atomic"
	"time"
)

// conn is a connection while its posts are answered here.
type conn struct {
	net.Conn
	listener *Listener
	busy     atomic.Int32 // idle, answering, stopped, or given

	buf    []byte    // what was read and not answered
	head   head      // of the post that buf begins with, once it is whole
	until  time.Time // the deadline that is set for reading, and for writing an answer
	answer []byte    // memory for an answer's body
	out    []byte    // and for an answer
	ended  bool      // the connection is to be closed

	// Who answers what was last asked for.
	path, host string
	handler    Handler
}

const (
	idle int32 = iota
	answering
	stopped
	given // to net/http, which alone may close it
)

// stop ends the connection: at once when it waits for a post, else after the answer.
func (c *conn) stop() {
	if c.busy.Swap(stopped) == idle {
		c.Close()
	}
}

// serve answers posts until there is something else.
func (c *conn) serve() {
	defer c.listener.leave(c)
	defer func() {
		if p := recover(); p != nil { // as net/http does
			c.listener.log.Error("answering a post failed; its connection is closed", "panic", p, "stack", string(debug.Stack()))
			c.Close()
		}
	}()
	for {
		ok := false
		switch c.next() {
		case whole:
			end := c.head.end + c.head.length
			if ok = c.post(c.buf[c.head.end:end:end]); ok {
				c.buf = c.buf[:copy(c.buf, c.buf[end:])]
			}
		case large:
			ok = c.large()
		case other:
		default:
			c.Close()
			return
		}
		if !ok {
			c.give()
			return
		}
		if c.ended {
			c.Close()
			return
		}
	}
}

// next reads until a whole post is in the buffer, or something else. It waits twice for
// one post, because Kong sends head and body apart; who needs longer is for net/http to
// be patient with.
func (c *conn) next() verdict {
	for waits := 0; ; waits++ {
		if len(c.buf) > 0 {
			var v verdict
			c.head, v = readHead(c.buf)
			if v == more && (len(c.buf) == cap(c.buf) || waits == 2) {
				v = other
			}
			if (v == whole || v == large) && !c.find(&c.head) {
				v = other
			}
			if v != more {
				return v
			}
		}
		if !c.read() {
			return more
		}
	}
}

// read reads more into the buffer, and reports whether the connection is alive. The
// deadline is also that of the answer, which a client that reads none would block.
func (c *conn) read() bool {
	if now := c.listener.now(); c.until.Sub(now) < idleFor-idleSlack {
		c.until = now.Add(idleFor)
		if err := c.SetDeadline(c.until); err != nil {
			return false
		}
	}
	n, err := c.Read(c.buf[len(c.buf):cap(c.buf)])
	c.buf = c.buf[:len(c.buf)+n]
	return n > 0 || err == nil // an error comes again
}

// find finds who answers, and reports whether they can here.
func (c *conn) find(h *head) bool {
	if c.path != string(h.path) || c.host != string(h.host) {
		c.path, c.host = string(h.path), string(h.host)
		handler, _ := c.listener.mux.Handler(&http.Request{Method: http.MethodPost, Host: c.host, URL: &url.URL{Path: c.path}})
		c.handler, _ = handler.(Handler)
	}
	return c.handler != nil
}

// post answers a post of which the body is at hand. It is false when nothing was done and
// the post is for net/http to answer.
func (c *conn) post(body []byte) bool {
	if !c.busy.CompareAndSwap(idle, answering) {
		c.ended = true // stop has closed it
		return true
	}
	defer func() {
		if !c.busy.CompareAndSwap(answering, idle) {
			c.ended = true
		}
	}()
	var ok bool
	if c.answer, ok = c.handler.Post(c.listener.ctx, body, c.answer[:0], c.RemoteAddr()); !ok {
		return false
	}
	c.out = append(c.out[:0], "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nDate: "...)
	c.out = append(c.out, c.listener.dateOf(c.listener.now())...)
	c.out = append(c.out, "\r\nContent-Length: "...)
	c.out = strconv.AppendInt(c.out, int64(len(c.answer)), 10)
	c.out = append(c.out, "\r\n\r\n"...)
	c.out = append(c.out, c.answer...)
	if _, err := c.Write(c.out); err != nil {
		c.ended = true
	}
	return true
}

// large answers a post whose body does not fit into the buffer, in memory of the handler's.
func (c *conn) large() bool {
	body, free := c.handler.Buffer(c.head.length)
	if body == nil {
		return false
	}
	defer free()
	n := copy(body, c.buf[c.head.end:])
	c.until = time.Time{} // set anew before the next post
	err := c.SetReadDeadline(c.listener.now().Add(bodyWithin))
	if err == nil {
		var rest int
		rest, err = io.ReadFull(c, body[n:])
		n += rest
	}
	if err == nil && c.post(body) {
		c.buf = c.buf[:0]
		return true
	}
	c.buf = slices.Concat(c.buf[:c.head.end], body[:n])
	return false
}

// give hands the connection to net/http, as if nothing had been read of what was not
// answered. Who stops afterwards must not close it: net/http may be counting by then.
func (c *conn) give() {
	if !c.busy.CompareAndSwap(idle, given) {
		c.Close()
		return
	}
	if err := c.SetDeadline(time.Time{}); err != nil {
		c.Close()
		return
	}
	c.listener.handOn(&unread{c.Conn, c.buf})
}

// unread is a connection of which some was read already.
type unread struct {
	net.Conn
	buf []byte
}

// Read reads that first.
func (u *unread) Read(b []byte) (int, error) {
	if len(u.buf) == 0 {
		return u.Conn.Read(b)
	}
	n := copy(b, u.buf)
	if u.buf = u.buf[n:]; len(u.buf) == 0 {
		u.buf = nil // its memory is not needed any more
	}
	return n, nil
}
