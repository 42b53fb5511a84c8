package main

import "time"

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
	c.queue.push(event{c.now.Add(d), c.number, do})
}

// run lets everything happen that is planned until an instant, and stops there.
func (c *clock) run(until time.Time) {
	for len(c.queue) > 0 && !c.queue[0].at.After(until) {
		e := c.queue.pop()
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

// before reports whether an event happens before another.
func (e *event) before(o *event) bool {
	if e.at.Equal(o.at) {
		return e.number < o.number
	}
	return e.at.Before(o.at)
}

// queue is a heap of events, the next one first. It is the simulation's innermost loop, so
// it does without the interfaces of container/heap.
type queue []event

func (q *queue) push(e event) {
	list := append(*q, e)
	i := len(list) - 1
	for i > 0 {
		parent := (i - 1) / 2
		if !e.before(&list[parent]) {
			break
		}
		list[i] = list[parent]
		i = parent
	}
	list[i] = e
	*q = list
}

// pop takes the next event out of a queue that is not empty.
func (q *queue) pop() event {
	list := *q
	first, last := list[0], list[len(list)-1]
	list[len(list)-1] = event{}
	list = list[:len(list)-1]
	*q = list
	if len(list) == 0 {
		return first
	}
	i := 0
	for {
		child := 2*i + 1
		if child >= len(list) {
			break
		}
		if child+1 < len(list) && list[child+1].before(&list[child]) {
			child++
		}
		if !list[child].before(&last) {
			break
		}
		list[i] = list[child]
		i = child
	}
	list[i] = last
	return first
}
