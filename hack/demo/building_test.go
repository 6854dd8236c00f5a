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

// While the story is told, what the build says is kept; whoever waits sees it as it
// comes, from the last line on, and never half a line.
func TestProgressOfABuild(t *testing.T) {
	g := NewWithT(t)
	says, failed := make(chan string), errors.New("it failed")
	b := build(t.Context(), func(_ context.Context, progress io.Writer) error {
		for text := range says {
			_, _ = io.WriteString(progress, text)
		}
		return failed
	})
	say := func(texts ...string) {
		for _, text := range texts {
			says <- text
		}
		says <- "" // what was said before has been written
	}
	g.Expect(b.underWay()).To(BeEmpty(), "it has said nothing yet")
	say("testbed: calico: 1 of 9 packages compiled, 10 s\n", "testbed: calico: 2 of 9 pack")
	g.Expect(b.underWay()).To(Equal("calico: 1 of 9 packages compiled, 10 s"))
	say("ages compiled, 20 s\n")
	g.Expect(b.underWay()).To(Equal("calico: 2 of 9 packages compiled, 20 s"))

	shown, out := io.Pipe()
	ended := make(chan error)
	go func() { ended <- b.wait(out) }()
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
	g.Expect(b.underWay()).To(BeEmpty(), "it is done")
}

// A build that has nothing to do says nothing.
func TestNothingToBuild(t *testing.T) {
	g := NewWithT(t)
	var out bytes.Buffer
	b := build(t.Context(), func(context.Context, io.Writer) error { return nil })
	g.Expect(b.wait(&out)).To(Succeed())
	g.Expect(out.String()).To(BeEmpty())
}

// A story that ends early takes the build with it.
func TestBuildEndsWithTheStory(t *testing.T) {
	ended := false
	b := build(t.Context(), func(ctx context.Context, _ io.Writer) error {
		<-ctx.Done()
		ended = true
		return ctx.Err()
	})
	b.end()
	NewWithT(t).Expect(ended).To(BeTrue())
}
