// SPDX-License-Identifier: Apache-2.0

package backup

import (
	"context"
	"fmt"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
)

// readLease reads the Lease that is stamped after every backup.
func readLease(ctx context.Context, live client.Reader, name v1alpha1.NamespacedName, found *Found) {
	request := request{source: sourceLease, kind: "Lease", namespace: name.Namespace, name: name.Name}
	at, err := renewTime(ctx, live, name.Namespace, name.Name)
	stamp := stampCommand(name)
	found.Advice = "See why the job that stamps it did not: kubectl get jobs --namespace=" + shellWord(name.Namespace) +
		". A script of your own stamps it after each backup: " + stamp
	switch problem := explainError(request, err); {
	case problem.absent:
		found.Absent = fmt.Sprintf("there is no %s. Create it after the first backup: %s", request, createLeaseCommand(name))
	case err != nil:
		found.Problem, found.Transient = problem.text, problem.transient
	case at.Unix() <= 0:
		found.Absent = fmt.Sprintf("%s has no spec.renewTime. cpnp-operator etcd-snapshot sets it after each snapshot; "+
			"a script of your own sets it after each backup: %s", request, stamp)
	default:
		found.addSuccess(Stamp{Time: at, By: request.String()})
	}
}

// renewTime returns when a Lease was renewed; the zero time if never.
func renewTime(ctx context.Context, live client.Reader, namespace, name string) (time.Time, error) {
	lease := &coordinationv1.Lease{}
	if err := live.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, lease); err != nil {
		return time.Time{}, err
	}
	if lease.Spec.RenewTime == nil {
		return time.Time{}, nil
	}
	return lease.Spec.RenewTime.Time, nil
}

// rightNow is replaced by the shell, between double quotes.
const rightNow = `$(date -u +%FT%T.000000Z)`

func stampCommand(name v1alpha1.NamespacedName) string {
	return fmt.Sprintf(`kubectl patch lease %s --namespace=%s --type=merge --patch="{\"spec\":{\"renewTime\":\"%s\"}}"`,
		shellWord(name.Name), shellWord(name.Namespace), rightNow)
}

func createLeaseCommand(name v1alpha1.NamespacedName) string {
	return fmt.Sprintf(`echo "{\"apiVersion\":\"coordination.k8s.io/v1\",\"kind\":\"Lease\",`+
		`\"metadata\":{\"namespace\":\"%s\",\"name\":\"%s\"},\"spec\":{\"renewTime\":\"%s\"}}" | kubectl create --filename=-`,
		inQuotes(name.Namespace), inQuotes(name.Name), rightNow)
}
