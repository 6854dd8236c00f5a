// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"io"
	"strings"
	"sync"
)

// building is a program that is built while the story is told.
type building struct {
	cancel context.CancelFunc
	done   chan struct{}
	err    error // read when it is done

	mu   sync.Mutex
	rest []byte    // of a line that has not ended
	last string    // what the build said last
	live io.Writer // gets what it says from now on, if there is one
}

// build starts a build. What it says goes to the writer that it is given.
func build(ctx context.Context, run func(ctx context.Context, progress io.Writer) error) *building {
	ctx, cancel := context.WithCancel(ctx)
	b := &building{cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(b.done)
		b.err = run(ctx, b)
	}()
	return b
}

// end ends it, if it is not done, and returns when it has ended.
func (b *building) end() {
	b.cancel()
	<-b.done
}

// Write takes what the build says, line by line.
func (b *building) Write(text []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.rest = append(b.rest, text...)
	for {
		line, rest, whole := bytes.Cut(b.rest, []byte("\n"))
		if !whole {
			return len(text), nil
		}
		b.rest = rest
		b.last = strings.TrimPrefix(string(line), "testbed: ")
		if b.live != nil {
			_, _ = io.WriteString(b.live, "· "+b.last+"\n")
		}
	}
}

// underWay returns what the build said last, while it goes on and has said something.
func (b *building) underWay() string {
	select {
	case <-b.done:
		return ""
	default:
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.last
}

// wait waits until it is done, and shows meanwhile how far it is.
func (b *building) wait(out io.Writer) error {
	now := b.underWay()
	b.mu.Lock()
	if now != "" {
		_, _ = io.WriteString(out, "· "+b.last+"\n")
	}
	b.live = out
	b.mu.Unlock()
	<-b.done
	b.mu.Lock()
	defer b.mu.Unlock()
	b.live = nil
	return b.err
}
