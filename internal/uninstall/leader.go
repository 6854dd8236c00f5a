// SPDX-License-Identifier: Apache-2.0

package uninstall

import (
	"context"
	"fmt"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/internal/options"
)

// awaitOperator waits until an operator renews the lease. Two values of the lease are
// compared, because the clocks of two machines may differ.
func (u *Uninstall) awaitOperator(ctx context.Context) error {
	var first *metav1.MicroTime
	var failure error
	err := wait.PollUntilContextTimeout(ctx, u.Poll, u.LeaderTimeout, true, func(ctx context.Context) (bool, error) {
		lease := &coordinationv1.Lease{}
		key := client.ObjectKey{Namespace: u.Namespace, Name: options.LeaderElectionID}
		if failure = u.Client.Get(ctx, key, lease); failure != nil {
			return false, nil // the operator may just start
		}
		held := ptr.Deref(lease.Spec.HolderIdentity, "") != ""
		if first == nil {
			first = lease.Spec.RenewTime
			return false, nil
		}
		return held && !lease.Spec.RenewTime.Equal(first), nil
	})
	if err == nil {
		return nil
	}
	cause := fmt.Sprintf("the lease %s/%s was not renewed within %s", u.Namespace, options.LeaderElectionID, u.LeaderTimeout)
	if failure != nil {
		cause = failure.Error()
	}
	return fmt.Errorf("no operator runs that could roll the policies back, so none was deleted (%s). "+
		"See why with kubectl get pods -n %s, and uninstall again. To leave everything as it is enforced now, "+
		"uninstall without the hook: helm uninstall --no-hooks", cause, u.Namespace)
}
