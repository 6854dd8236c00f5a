// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"io"
	"strings"
	"sync"
)

// building is a program being built during the story.
type building struct {
	cancel context.CancelFunc
	done   chan struct{}
	err    error // read after the end

	mu   sync.Mutex
	rest []byte    // of an unfinished line
	last string    // the last line of the build
	live io.Writer // gets all further lines, if set
}

// startBuild starts a build, with the given writer for progress.
func startBuild(ctx context.Context, run func(ctx context.Context, progress io.Writer) error) *building {
	ctx, cancel := context.WithCancel(ctx)
	b := &building{cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(b.done)
		b.err = run(ctx, b)
	}()
	return b
}

// endBuild cancels an unfinished build, and waits for the end.
func (b *building) endBuild() {
	b.cancel()
	<-b.done
}

// Write receives the build's progress, line by line.
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

// lastLine returns the build's last line while the build is running, or nothing.
func (b *building) lastLine() string {
	select {
	case <-b.done:
		return ""
	default:
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.last
}

// waitFor waits for the end of the build, and shows progress meanwhile.
func (b *building) waitFor(out io.Writer) error {
	now := b.lastLine()
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
