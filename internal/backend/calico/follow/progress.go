// SPDX-License-Identifier: Apache-2.0

package follow

import (
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"
)

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

	// share is the most memory for the objects, in bytes; 0 for no bound.
	share int64
	// tooLarge says how much there is, if that is more than the share, until all objects
	// are read again. Meanwhile ownOnly is set: only the operator's own objects are read.
	tooLarge *tooLarge
	ownOnly  bool
	// listedOwn says that the last list was a list of own objects only.
	listedOwn bool
	// switched says that ownOnly has changed since the attempt to read began, and end
	// ends the attempt.
	switched bool
	end      func()
	// keeps says whether to keep an object, and known returns the object that is kept in
	// the same version, nil if there is none.
	keeps func(client.Object) bool
	known func(client.Object) client.Object
}

// setTooLarge notes that the objects take more memory than the share: all objects, or
// only the operator's own ones. From then on only the operator's own objects are read.
// If even these are too large, the kind cannot be read.
func (p *progress) setTooLarge(t *tooLarge, ownOnly bool) {
	switch {
	case ownOnly != p.ownOnly:
		return // other objects are to be read by now
	case ownOnly:
		p.err, p.late, p.listed = t, true, false
	default:
		p.tooLarge, p.ownOnly, p.switched = t, true, true
	}
	p.endAttempt()
}

// readAll has all objects read again.
func (p *progress) readAll() {
	if p.ownOnly {
		p.ownOnly, p.switched = false, true
		p.endAttempt()
	}
}

// endAttempt ends the current attempt to read, if there is one.
func (p *progress) endAttempt() {
	if p.end != nil {
		p.end()
	}
}

// isCurrent says whether all objects are listed and changes arrive.
func (p *progress) isCurrent() bool { return p.listed && p.watching }

// setListed notes that all objects are listed.
func (p *progress) setListed() {
	p.listed = true
	if !p.listedOwn {
		p.tooLarge = nil
	}
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
