// SPDX-License-Identifier: Apache-2.0

package backup

import (
	"strings"
	"time"

	"github.com/cpnp-dev/cpnp-operator/internal/timing"
)

// Found is what a source tells of the backups.
type Found struct {
	// At is when the source was read. Zero means that the source was never read.
	At time.Time
	// Newest is the newest backup; without a time if the source tells of none.
	Newest Stamp
	// Failed is the newest attempt that failed; without a time if there is none.
	Failed Stamp
	// Future is the latest backup with a time ahead of the clock, which does not count.
	Future Stamp
	// Refuted says why the backups do not count at any age; empty if the backups count.
	Refuted string
	// Absent says why the source tells of no backup, and what to do.
	Absent string
	// Problem says why the source could not be read, at all or in part, and what to do.
	Problem string
	// Transient tells that the next read may succeed without anybody's help.
	Transient bool
	// Notes are further sentences for the reader of the condition.
	Notes []string
	// Advice says how to end the lack of a young backup, as a sentence with a command.
	Advice string
}

// Stamp is a time with its origin.
type Stamp struct {
	Time time.Time
	// By names the object that tells the time.
	By string
	// Note says more about By, if there is more to say.
	Note string
}

// exists tells whether there is a stamp.
func (s Stamp) exists() bool { return !s.Time.IsZero() }

// addSuccess takes a success into account. A time before any etcd is no time. Of equal
// times, the first one counts.
func (f *Found) addSuccess(s Stamp) {
	switch {
	case s.Time.Unix() <= 0:
	case s.Time.After(f.At.Add(timing.BackupSkew)):
		keepLatest(&f.Future, s)
	default:
		keepLatest(&f.Newest, s)
	}
}

// addFailure takes a failure into account. A failure in the future is left out: the failure
// would be told for as long as the time is ahead of every backup.
func (f *Found) addFailure(s Stamp) {
	if s.Time.Unix() > 0 && !s.Time.After(f.At.Add(timing.BackupSkew)) {
		keepLatest(&f.Failed, s)
	}
}

// settled returns the findings as of the given time: a backup ahead of the clock counts once
// its time has come.
func (f Found) settled(now time.Time) Found {
	if f.Future.exists() && !now.Before(f.countsFrom()) {
		keepLatest(&f.Newest, f.Future)
		f.Future = Stamp{}
	}
	return f
}

// countsFrom returns when the backup ahead of the clock begins to count.
func (f Found) countsFrom() time.Time { return f.Future.Time.Add(-timing.BackupSkew) }

// keepLatest replaces a stamp by a later stamp. The names are copied: otherwise a stamp
// would keep a page of a list in memory.
func keepLatest(kept *Stamp, s Stamp) {
	if s.Time.After(kept.Time) {
		*kept = Stamp{Time: s.Time, By: strings.Clone(s.By), Note: strings.Clone(s.Note)}
	}
}

// equals tells whether two answers lead to the same verdict at every time.
func (f Found) equals(other Found) bool {
	if len(f.Notes) != len(other.Notes) {
		return false
	}
	for i := range f.Notes {
		if f.Notes[i] != other.Notes[i] {
			return false
		}
	}
	return f.At.IsZero() == other.At.IsZero() && f.Newest.equals(other.Newest) && f.Failed.equals(other.Failed) &&
		f.Future.equals(other.Future) && f.Refuted == other.Refuted && f.Absent == other.Absent &&
		f.Problem == other.Problem && f.Advice == other.Advice
}

func (s Stamp) equals(other Stamp) bool {
	return s.Time.Equal(other.Time) && s.By == other.By && s.Note == other.Note
}
