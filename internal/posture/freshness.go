// SPDX-License-Identifier: Apache-2.0

package posture

import (
	"time"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/timing"
)

// Interval returns how often an observer probes; 0 seconds stand for the default.
func Interval(seconds int32) time.Duration {
	if seconds <= 0 {
		return timing.TLSInterval
	}
	return time.Duration(seconds) * time.Second
}

// missedRounds is the number of rounds that an observer may miss before the results are too
// old.
const missedRounds = 3

// isFresh tells whether an observation counts. The time comes from the observer's clock: an
// observation from the future counts no longer than a new observation.
func isFresh(o *v1alpha1.TLSObservation, interval time.Duration, now time.Time) bool {
	if o.Time == nil {
		return false
	}
	return !now.After(freshEnd(o, interval)) && now.Sub(o.Time.Time) >= -timing.ClockSkew
}

// freshEnd returns until when an observation counts.
func freshEnd(o *v1alpha1.TLSObservation, interval time.Duration) time.Time {
	return o.Time.Add(missedRounds*interval + timing.TLSRoundMost)
}

// freshUntil returns when the fresh observations begin not to count any more.
func freshUntil(in Input) []time.Time {
	var ends []time.Time
	for i := range in.Postures {
		interval := Interval(in.Postures[i].Spec.IntervalSeconds)
		for j := range in.Postures[i].Status.Observers {
			o := &in.Postures[i].Status.Observers[j]
			if isFresh(o, interval, in.Now) {
				ends = append(ends, freshEnd(o, interval).Add(time.Second))
			}
		}
	}
	return ends
}
