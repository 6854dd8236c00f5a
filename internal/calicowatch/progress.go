// SPDX-License-Identifier: Apache-2.0

package calicowatch

import "time"

// progress is the state of the reading of one kind. The caller of a method holds the
// lock of the Follower; only change takes the lock.
type progress struct {
	kind     kind
	patience time.Duration
	// change is the applyChange of the reading: without effect after the reading has
	// stopped.
	change func(func() bool)

	listed   bool // since the last failure
	watching bool
	err      error // the last failure; nil while the reading works, or waits
	late     bool  // the reading has failed for longer than patience
	waiting  *time.Timer
}

// isCurrent says whether all objects are listed and changes arrive.
func (p *progress) isCurrent() bool { return p.listed && p.watching }

// setListed notes that all objects are listed.
func (p *progress) setListed() {
	p.listed = true
	p.updateTimer()
}

// setWatching notes whether a watch is connected: false before the request for a watch,
// and true after the answer. A watch ends now and then; the listed objects stay valid
// if the next watch continues.
func (p *progress) setWatching(connected bool) {
	p.watching = connected
	p.updateTimer()
}

// setEnded notes that all objects have to be listed again.
func (p *progress) setEnded(err error) {
	p.listed, p.watching = false, false
	if err != nil {
		p.err = err
	}
	p.updateTimer()
}

// updateTimer runs the timer exactly while the kind is not current.
func (p *progress) updateTimer() {
	switch {
	case p.isCurrent():
		p.stopTimer()
		p.err, p.late = nil, false
	case p.waiting == nil:
		var timer *time.Timer
		timer = time.AfterFunc(p.patience, func() {
			p.change(func() bool {
				// A timer that was stopped too late has no effect.
				p.late = p.late || p.waiting == timer
				return false
			})
		})
		p.waiting = timer
	}
}

// stopTimer stops the timer.
func (p *progress) stopTimer() {
	if p.waiting != nil {
		p.waiting.Stop()
		p.waiting = nil
	}
}
