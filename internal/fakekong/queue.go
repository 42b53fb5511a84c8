package fakekong

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"sync"
	"time"
)

// logQueue hands the log lines of one http-log plugin to its endpoint, as Kong's
// queue does: in batches, and each batch again until it is taken or too old.
type logQueue struct {
	kong *Kong

	mu      sync.Mutex
	plugin  entity // the newest version seen
	entries [][]byte
	busy    bool          // a batch is on its way
	flush   bool          // don't wait for more entries
	wake    chan struct{} // entries or flush changed
	idle    chan struct{} // closed when there is nothing left to do
}

// enqueue hands a line to the plugin's queue, the oldest one giving way when it
// is full.
func (k *Kong) enqueue(plugin entity, line []byte) {
	k.mu.Lock()
	id := plugin["id"].(string)
	q := k.queues[id]
	if q == nil {
		q = &logQueue{kong: k, wake: make(chan struct{}, 1), idle: make(chan struct{})}
		k.queues[id] = q
		k.senders.Go(func() { q.run(k.ctx) })
	}
	k.mu.Unlock()
	q.mu.Lock()
	q.plugin = plugin
	q.entries = append(q.entries, line)
	if maximum := int(q.setting("max_entries", 10000)); len(q.entries) > maximum {
		q.entries = q.entries[len(q.entries)-maximum:]
	}
	q.mu.Unlock()
	q.nudge()
}

func (q *logQueue) nudge() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// setting reads a queue parameter. The lock is held.
func (q *logQueue) setting(name string, otherwise float64) float64 {
	v, _ := lookup(q.plugin, "config.queue."+name)
	if n, ok := v.(float64); ok {
		return n
	}
	return otherwise
}

func (q *logQueue) seconds(name string, otherwise float64) time.Duration {
	return time.Duration(q.setting(name, otherwise) * float64(time.Second))
}

func (q *logQueue) run(ctx context.Context) {
	for {
		batch, ok := q.collect(ctx)
		if !ok {
			return
		}
		q.deliver(ctx, batch)
	}
}

// collect waits for the first entry and then, for max_coalescing_delay, for as
// many as fit a batch.
func (q *logQueue) collect(ctx context.Context) ([][]byte, bool) {
	var delay <-chan time.Time
	elapsed := false
	for {
		q.mu.Lock()
		size := int(q.setting("max_batch_size", 1))
		switch n := len(q.entries); {
		case n >= size || n > 0 && (elapsed || q.flush):
			batch := q.entries[:min(n, size)]
			q.entries = q.entries[len(batch):]
			q.busy = true
			q.mu.Unlock()
			return batch, true
		case n == 0:
			q.settle()
		case delay == nil:
			t := time.NewTimer(q.seconds("max_coalescing_delay", 1))
			defer t.Stop()
			delay = t.C
		}
		q.mu.Unlock()
		select {
		case <-q.wake:
		case <-delay:
			elapsed = true
		case <-ctx.Done():
			return nil, false
		}
	}
}

// settle tells those who wait that there is nothing left. The lock is held.
func (q *logQueue) settle() {
	q.busy, q.flush = false, false
	select {
	case <-q.idle:
	default:
		close(q.idle)
	}
}

// deliver posts a batch until it is taken, or max_retry_time has passed since the
// first attempt.
func (q *logQueue) deliver(ctx context.Context, batch [][]byte) {
	begun := time.Now()
	for retry := 0; ; retry++ {
		q.mu.Lock()
		plugin, single := q.plugin, q.setting("max_batch_size", 1) == 1
		wait := min(q.seconds("initial_retry_delay", 0.01)<<min(retry, 20), q.seconds("max_retry_delay", 60))
		deadline := begun.Add(q.seconds("max_retry_time", 60))
		q.mu.Unlock()
		err := q.kong.post(ctx, plugin["config"].(entity), bodyOf(batch, single))
		if err == nil || ctx.Err() != nil {
			return
		}
		q.kong.cfg.Logger.Warn("the log batch was not taken", "entries", len(batch), "error", err)
		if time.Now().Add(wait).After(deadline) || !q.kong.sleep(ctx, wait) {
			return
		}
	}
}

// bodyOf makes a body: the object alone when batches are of one, else a list.
func bodyOf(batch [][]byte, single bool) []byte {
	if single {
		return batch[0]
	}
	return append(append([]byte{'['}, bytes.Join(batch, []byte{','})...), ']')
}

// post sends a body as the http-log plugin does; its endpoint's query is dropped.
func (k *Kong) post(ctx context.Context, config entity, body []byte) error {
	text := func(name, otherwise string) string {
		if s, ok := config[name].(string); ok {
			return s
		}
		return otherwise
	}
	u, err := url.Parse(text("http_endpoint", ""))
	if err != nil {
		return err
	}
	u.RawQuery = ""
	timeout := 10 * time.Second
	if ms, ok := config["timeout"].(float64); ok {
		timeout = time.Duration(ms) * time.Millisecond
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, text("method", http.MethodPost), u.String(), bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", text("content_type", "application/json"))
	req.Header.Set("User-Agent", "lua-resty-http/0.17.2 (Lua) ngx_lua/10026")
	headers, _ := config["headers"].(entity)
	for name, v := range headers {
		if s, ok := v.(string); ok {
			req.Header.Set(name, s)
		}
	}
	resp, err := k.transport.RoundTrip(req)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, resp.Body)
	err = errors.Join(err, resp.Body.Close())
	if resp.StatusCode >= 400 {
		return errors.Join(err, errors.New("the endpoint answered "+resp.Status))
	}
	return err
}

// Flush sends what the log queues hold without waiting for full batches, and
// returns when all of it is taken or given up.
func (k *Kong) Flush(ctx context.Context) error {
	k.mu.Lock()
	queues := make([]*logQueue, 0, len(k.queues))
	for _, q := range k.queues {
		queues = append(queues, q)
	}
	k.mu.Unlock()
	for _, q := range queues {
		q.mu.Lock()
		q.flush = true
		q.idle = make(chan struct{})
		idle := q.idle
		q.mu.Unlock()
		q.nudge()
		select {
		case <-idle:
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-k.ctx.Done():
			return nil
		}
	}
	return nil
}
