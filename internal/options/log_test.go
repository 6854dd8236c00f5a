// SPDX-License-Identifier: Apache-2.0

package options_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/go-logr/logr"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"

	"github.com/cpnp-dev/cpnp-operator/internal/options"
)

// logged is a log together with its output.
type logged struct {
	*WithT
	logr.Logger
	out bytes.Buffer
	now time.Time
}

func logging(t *testing.T) *logged {
	l := &logged{WithT: NewWithT(t), now: time.Unix(1_700_000_000, 0)}
	l.Logger = options.NewLogger(zap.Options{DestWriter: &l.out}, func() time.Time { return l.now })
	return l
}

// lines returns the lines since the last call.
func (l *logged) lines() []map[string]any {
	var lines []map[string]any
	for line := range strings.Lines(l.out.String()) {
		var fields map[string]any
		l.Expect(json.Unmarshal([]byte(line), &fields)).To(Succeed())
		lines = append(lines, fields)
	}
	l.out.Reset()
	return lines
}

func TestForeignTextIsLoggedAsOneVisibleLine(t *testing.T) {
	hostile := "x\n\x1b[2J\u202e\u200b" + strings.Repeat("\u2066", 4000)
	l := logging(t)
	node := &corev1.Node{}
	node.Name, node.Annotations = "cp-1", map[string]string{"a": hostile}
	l.WithValues("value", hostile).Error(fmt.Errorf("writing: %w", errors.New(hostile)), "It failed: "+hostile,
		"text", hostile, "bytes", []byte(hostile), "list", []string{hostile}, "object", node,
		"name", types.NamespacedName{Namespace: "n", Name: "x"}, "count", 3)
	out := l.out.String()
	l.Expect(strings.TrimSuffix(out, "\n")).NotTo(ContainSubstring("\n"))
	l.Expect(strings.ContainsFunc(strings.TrimSuffix(out, "\n"), func(r rune) bool { return unicode.In(r, unicode.Cc, unicode.Cf) })).To(BeFalse())
	l.Expect(len(out)).To(BeNumerically("<", 10_000))
	lines := l.lines()
	l.Expect(lines).To(HaveLen(1))
	for key, value := range lines[0] {
		if text, is := value.(string); is && key != "stacktrace" {
			l.Expect(len(text)).To(BeNumerically("<=", 1024), key)
		}
	}
	l.Expect(lines[0]).To(And(HaveKeyWithValue("count", 3.0), HaveKeyWithValue("object", "cp-1"),
		HaveKeyWithValue("name", HaveKeyWithValue("name", "x")), HaveKeyWithValue("error", HavePrefix(`writing: x\n\x1b[2J\u202e`))))
}

func TestAnErrorThatRepeatsIsLoggedOnceAMinute(t *testing.T) {
	l := logging(t)
	fail := func(object, id string) {
		l.WithValues("object", object, "reconcileID", id).Error(errors.New("refused"), "Reconciler error")
	}
	for i := range 1000 {
		fail("a", fmt.Sprint(i))
		l.now = l.now.Add(10 * time.Millisecond)
	}
	fail("b", "x")
	l.Expect(l.lines()).To(HaveExactElements(HaveKeyWithValue("object", "a"), HaveKeyWithValue("object", "b")))
	l.now = l.now.Add(time.Minute)
	fail("a", "y")
	l.Expect(l.lines()).To(HaveExactElements(HaveKeyWithValue("repeats", 999.0)), "the number of repetitions is logged")
	for range 3 {
		l.Info("Wrote what is declared")
	}
	l.Expect(l.lines()).To(HaveLen(3), "successful actions are logged each time")
}

func TestNoFloodOfErrorsFillsTheLog(t *testing.T) {
	l := logging(t)
	for i := range 100_000 { // each error is a new one, as with invented names
		l.Error(errors.New(strings.Repeat("long ", 1000)), "Reconciler error", "object", fmt.Sprint(i))
	}
	size := l.out.Len()
	l.Expect(size).To(BeNumerically("<", 100<<10))
	l.Expect(l.lines()).To(HaveLen(20))
	l.Info("Something else")
	l.Expect(l.lines()).To(HaveExactElements(HaveKeyWithValue("linesDropped", BeNumerically(">", 100))), "other lines still reach the log")
	for i := range 100_000 {
		l.Info("Wrote what is declared", "object", i)
		l.V(0).Info(fmt.Sprint("A message of its own ", i))
	}
	l.Expect(len(l.lines())).To(BeNumerically("<=", 200))
	l.now = l.now.Add(time.Second)
	l.Error(errors.New("new"), "Reconciler error")
	l.Expect(l.lines()).To(HaveLen(1))
}
