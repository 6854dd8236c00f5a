// SPDX-License-Identifier: Apache-2.0

package schedule

import (
	"maps"
	"sync"
	"time"
)

// Timers remembers by key when something began, or is due. The zero value is ready to use.
// Timers is safe for concurrent use.
type Timers[K comparable] struct {
	mu sync.Mutex
	at map[K]time.Time
}

// Set sets the time of a key.
func (t *Timers[K]) Set(key K, at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.set(key, at)
}

func (t *Timers[K]) set(key K, at time.Time) {
	if t.at == nil {
		t.at = map[K]time.Time{}
	}
	t.at[key] = at
}

// Begin sets the time of a key without a time, and returns the time of the key.
func (t *Timers[K]) Begin(key K, now time.Time) time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	if at, known := t.at[key]; known {
		return at
	}
	t.set(key, now)
	return now
}

// At returns the time of a key, and whether the key has a time.
func (t *Timers[K]) At(key K) (time.Time, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	at, known := t.at[key]
	return at, known
}

// Left returns how long it is until d has passed since the time of a key; 0 if d has
// passed, or the key has no time.
func (t *Timers[K]) Left(key K, d time.Duration, now time.Time) time.Duration {
	at, known := t.At(key)
	if !known {
		return 0
	}
	return max(0, at.Add(d).Sub(now))
}

// Running forgets the keys since whose time d has passed, and returns for each other key
// how long it is until then.
func (t *Timers[K]) Running(d time.Duration, now time.Time) map[K]time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	running := map[K]time.Duration{}
	for key, at := range t.at {
		if left := at.Add(d).Sub(now); left > 0 {
			running[key] = left
		} else {
			delete(t.at, key)
		}
	}
	return running
}

// Forget forgets a key.
func (t *Timers[K]) Forget(key K) {
	t.ForgetAll(func(k K) bool { return k == key })
}

// ForgetAll forgets the matching keys.
func (t *Timers[K]) ForgetAll(matches func(K) bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	maps.DeleteFunc(t.at, func(key K, _ time.Time) bool { return matches(key) })
}
