package main

import (
	"container/heap"
	"time"
)

// clock is virtual time: events happen in the order of their instants, and in the order in
// which they were planned at the same one.
type clock struct {
	now    time.Time
	queue  queue
	number uint64
}

func newClock(start time.Time) *clock { return &clock{now: start} }

// Now returns the present instant.
func (c *clock) Now() time.Time { return c.now }

// after plans an event.
func (c *clock) after(d time.Duration, do func()) {
	c.number++
	heap.Push(&c.queue, event{c.now.Add(d), c.number, do})
}

// run lets everything happen that is planned until an instant, and stops there.
func (c *clock) run(until time.Time) {
	for len(c.queue) > 0 && !c.queue[0].at.After(until) {
		e := heap.Pop(&c.queue).(event)
		c.now = e.at
		e.do()
	}
	c.now = until
}

type event struct {
	at     time.Time
	number uint64
	do     func()
}

// queue is a heap of events, the next one first.
type queue []event

func (q queue) Len() int      { return len(q) }
func (q queue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *queue) Push(x any)   { *q = append(*q, x.(event)) }

func (q queue) Less(i, j int) bool {
	if !q[i].at.Equal(q[j].at) {
		return q[i].at.Before(q[j].at)
	}
	return q[i].number < q[j].number
}

func (q *queue) Pop() any {
	old := *q
	e := old[len(old)-1]
	*q = old[:len(old)-1]
	return e
}
