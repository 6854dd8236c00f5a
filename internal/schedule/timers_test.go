// SPDX-License-Identifier: Apache-2.0

package schedule

import (
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
)

func TestTimersKeepTheFirstTimeOfAKey(t *testing.T) {
	g := NewWithT(t)
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	var timers Timers[string]
	g.Expect(timers.Left("a", time.Minute, now)).To(BeZero(), "a key without a time")
	g.Expect(timers.Running(time.Minute, now)).To(BeEmpty())

	g.Expect(timers.Begin("a", now)).To(Equal(now))
	later := now.Add(20 * time.Second)
	g.Expect(timers.Begin("a", later)).To(Equal(now), "only the first call of Begin sets the time")
	g.Expect(timers.Left("a", time.Minute, later)).To(Equal(40 * time.Second))
	g.Expect(timers.Left("a", time.Second, later)).To(BeZero())

	timers.Set("a", later)
	timers.Set("b", now)
	timers.Set("c", now)
	at, known := timers.At("a")
	g.Expect(known).To(BeTrue())
	g.Expect(at).To(Equal(later))
	g.Expect(timers.Running(20*time.Second, later)).To(Equal(map[string]time.Duration{"a": 20 * time.Second}))
	_, known = timers.At("b")
	g.Expect(known).To(BeFalse(), "a key whose time has passed is forgotten")

	timers.Set("bb", now)
	timers.Forget("a")
	timers.ForgetAll(func(key string) bool { return strings.HasPrefix(key, "b") })
	g.Expect(timers.Running(time.Hour, now)).To(BeEmpty())
}
