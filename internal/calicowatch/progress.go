// SPDX-License-Identifier: Apache-2.0

package calicowatch

import "time"

// progress is how far the reading of one kind is. Its methods expect the
// Follower's lock to be held, except change, which takes it.
type progress struct {
	kind     kind
	patience time.Duration
	// change is the Follower's, and does nothing once the reading has stopped.
	change func(func() bool)

	listed   bool // since it failed last
	watching bool
	err      error // why it failed last; nil when it goes well, or just waits
	late     bool  // it does not go well, for longer than patience
	waiting  *time.Timer
}

// well says whether everything is there, and changes will be heard of.
func (p *progress) well() bool { return p.listed && p.watching }

// hasListed is said when everything that there is has been told.
func (p *progress) hasListed() {
	p.listed = true
	p.settle()
}

// connects is said before a watch is asked for, and after it is given. A watch
// ends now and then; what is listed is still good when the next one goes on.
func (p *progress) connects(connected bool) {
	p.watching = connected
	p.settle()
}

// ended is said when everything has to be listed again.
func (p *progress) ended(err error) {
	p.listed, p.watching = false, false
	if err != nil {
		p.err = err
	}
	p.settle()
}

// settle keeps the timer running exactly while it does not go well.
func (p *progress) settle() {
	switch {
	case p.well():
		p.rest()
		p.err, p.late = nil, false
	case p.waiting == nil:
		var timer *time.Timer
		timer = time.AfterFunc(p.patience, func() {
			p.change(func() bool {
				// One that was stopped too late is not this one.
				p.late = p.late || p.waiting == timer
				return false
			})
		})
		p.waiting = timer
	}
}

// rest ends the timer.
func (p *progress) rest() {
	if p.waiting != nil {
		p.waiting.Stop()
		p.waiting = nil
	}
}
