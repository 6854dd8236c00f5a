// SPDX-License-Identifier: Apache-2.0

package backup

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/timing"
)

// Poller reads the backups of policies, and keeps the answers in a memory. A Poller needs a
// controller of its own, because reads may take long.
type Poller struct {
	// Live asks the API server itself.
	Live   client.Reader
	Memory *Memory
}

// Poll reads the backups of a policy if the last read is timing.BackupReread ago. Poll
// returns when to poll again, zero if the policy declares no readable source, and whether
// the answer has changed. After a change, the caller reports the status of the policy anew.
func (p *Poller) Poll(ctx context.Context, policy *v1alpha1.ControlPlaneNetworkPolicy) (again time.Duration, changed bool) {
	if !isDeclared(policy) || sourceOf(policy).Annotation != nil {
		p.Memory.Forget(policy.UID)
		return 0, false
	}
	if age, read := p.Memory.Age(policy); read && age < timing.BackupReread {
		return timing.BackupReread - age, false
	}
	found := Look(ctx, p.Live, policy)
	if ctx.Err() != nil { // the operator ends
		return 0, false
	}
	return timing.BackupReread, p.Memory.Keep(policy, found)
}

// isDeclared tells whether a policy asks for backups of etcd.
func isDeclared(policy *v1alpha1.ControlPlaneNetworkPolicy) bool {
	return policy.Spec.Posture != nil && policy.Spec.Posture.EtcdBackup.IsDeclared()
}

func isSameSource(a, b v1alpha1.BackupSource) bool { return equality.Semantic.DeepEqual(a, b) }
