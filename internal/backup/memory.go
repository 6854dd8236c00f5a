// SPDX-License-Identifier: Apache-2.0

package backup

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/timing"
)

// Memory keeps the last answer about the backups of every policy, so no reconciler waits
// for a read. After a restart, all answers are read again within a minute.
type Memory struct {
	// Clock tells the time. Nil means the clock of the machine.
	Clock clock.PassiveClock

	mutex   sync.Mutex
	answers map[types.UID]answer
}

// answer is what the source of a policy told.
type answer struct {
	source v1alpha1.BackupSource
	// found is the last useful answer; readAt is when the source was read last, usefully
	// or not.
	found  Found
	readAt time.Time
}

func (m *Memory) now() time.Time {
	if m.Clock == nil {
		return time.Now()
	}
	return m.Clock.Now()
}

// Latest returns the last answer about the backups of a policy, without waiting. The answer
// is not known before the first read of the declared source, and after timing.BackupKept
// without a read. The annotation of a policy is always known.
func (m *Memory) Latest(policy *v1alpha1.ControlPlaneNetworkPolicy) (found Found, known bool) {
	source := sourceOf(policy)
	if source.Annotation != nil {
		return readAnnotation(policy, m.now()), true
	}
	m.mutex.Lock()
	defer m.mutex.Unlock()
	last, is := m.answers[policy.UID]
	if !is || !isSameSource(last.source, source) || m.now().Sub(last.readAt) >= timing.BackupKept {
		return Found{}, false
	}
	return last.found, true
}

// Keep keeps an answer, and tells whether the answer is new. For timing.BackupKept, a failed
// read does not replace a useful answer: a backup does not vanish because the API server is
// busy.
func (m *Memory) Keep(policy *v1alpha1.ControlPlaneNetworkPolicy, found Found) (changed bool) {
	source, now := sourceOf(policy.DeepCopy()), m.now()
	m.mutex.Lock()
	defer m.mutex.Unlock()
	if m.answers == nil {
		m.answers = map[types.UID]answer{}
	}
	last, is := m.answers[policy.UID]
	is = is && isSameSource(last.source, source)
	if is && found.Transient && !last.found.Transient && now.Sub(last.found.At) < timing.BackupKept {
		found = last.found
	}
	m.answers[policy.UID] = answer{source: source, found: found, readAt: now}
	return !is || !last.found.equals(found)
}

// Age returns how long ago the source of a policy was read; read is false if it never was.
func (m *Memory) Age(policy *v1alpha1.ControlPlaneNetworkPolicy) (age time.Duration, read bool) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	last, is := m.answers[policy.UID]
	if !is || !isSameSource(last.source, sourceOf(policy)) {
		return 0, false
	}
	return m.now().Sub(last.readAt), true
}

// ForgetOthers forgets the answers about all other policies than the given policies.
func (m *Memory) ForgetOthers(policies map[types.UID]bool) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	for uid := range m.answers {
		if !policies[uid] {
			delete(m.answers, uid)
		}
	}
}

// Forget forgets the answer about a policy.
func (m *Memory) Forget(uid types.UID) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	delete(m.answers, uid)
}
