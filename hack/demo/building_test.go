// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"testing"

	. "github.com/onsi/gomega"
)

// During the story the build's progress is kept. A waiting demo shows the progress from the
// last line on, and never half a line.
func TestProgressOfABuild(t *testing.T) {
	g := NewWithT(t)
	says, failed := make(chan string), errors.New("it failed")
	b := startBuild(t.Context(), func(_ context.Context, progress io.Writer) error {
		for text := range says {
			_, _ = io.WriteString(progress, text)
		}
		return failed
	})
	say := func(texts ...string) {
		for _, text := range texts {
			says <- text
		}
		says <- "" // the earlier lines have been written
	}
	g.Expect(b.lastLine()).To(BeEmpty(), "the build has written nothing yet")
	say("testbed: calico: 1 of 9 packages compiled, 10 s\n", "testbed: calico: 2 of 9 pack")
	g.Expect(b.lastLine()).To(Equal("calico: 1 of 9 packages compiled, 10 s"))
	say("ages compiled, 20 s\n")
	g.Expect(b.lastLine()).To(Equal("calico: 2 of 9 packages compiled, 20 s"))

	shown, out := io.Pipe()
	ended := make(chan error)
	go func() { ended <- b.waitFor(out) }()
	lines := bufio.NewScanner(shown)
	next := func() string {
		g.Expect(lines.Scan()).To(BeTrue())
		return lines.Text()
	}
	g.Expect(next()).To(Equal("· calico: 2 of 9 packages compiled, 20 s"))
	said := make(chan struct{})
	go func() {
		defer close(said)
		say("testbed: calico: 9 packages compiled, linking, 30 s\n")
	}()
	g.Expect(next()).To(Equal("· calico: 9 packages compiled, linking, 30 s"))
	<-said
	close(says)
	g.Expect(<-ended).To(MatchError(failed))
	g.Expect(b.lastLine()).To(BeEmpty(), "the build has ended")
}

// A build with nothing to do prints nothing.
func TestNothingToBuild(t *testing.T) {
	g := NewWithT(t)
	var out bytes.Buffer
	b := startBuild(t.Context(), func(context.Context, io.Writer) error { return nil })
	g.Expect(b.waitFor(&out)).To(Succeed())
	g.Expect(out.String()).To(BeEmpty())
}

// An early end of the story also ends the build.
func TestBuildEndsWithTheStory(t *testing.T) {
	ended := false
	b := startBuild(t.Context(), func(ctx context.Context, _ io.Writer) error {
		<-ctx.Done()
		ended = true
		return ctx.Err()
	})
	b.endBuild()
	NewWithT(t).Expect(ended).To(BeTrue())
}
