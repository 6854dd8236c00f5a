// SPDX-License-Identifier: Apache-2.0

package backup

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/timing"
)

// Look reads the source of backups that a policy declares. The reader must ask the API
// server without a cache: a cache would keep every Job of the cluster in memory. Look takes
// at most timing.BackupRead.
func Look(ctx context.Context, live client.Reader, policy *v1alpha1.ControlPlaneNetworkPolicy) Found {
	return lookAt(ctx, live, policy, time.Now())
}

// lookAt is Look at a given time.
func lookAt(ctx context.Context, live client.Reader, policy *v1alpha1.ControlPlaneNetworkPolicy, now time.Time) Found {
	ctx, cancel := context.WithTimeout(ctx, timing.BackupRead)
	defer cancel()
	source := sourceOf(policy)
	found := Found{At: now}
	switch {
	case source.Jobs.Namespace != "":
		readJobs(ctx, live, source.Jobs, &found)
	case source.Lease.Name != "":
		readLease(ctx, live, source.Lease, &found)
	case source.EtcdDruid.Name != "":
		readEtcdDruid(ctx, live, source.EtcdDruid, &found)
	case source.SnapshotFiles != nil:
		readSnapshotFiles(ctx, live, source.SnapshotFiles.Location, &found)
	default:
		return readAnnotation(policy, now)
	}
	if !found.Newest.exists() && servesVelero(live) {
		found.Notes = append(found.Notes, veleroNote)
	}
	return found
}

// sourceOf returns the source of backups in a policy; an empty source if the policy has
// none.
func sourceOf(policy *v1alpha1.ControlPlaneNetworkPolicy) v1alpha1.BackupSource {
	if policy.Spec.Posture == nil {
		return v1alpha1.BackupSource{}
	}
	return policy.Spec.Posture.EtcdBackup.Source
}

// veleroNote is for clusters with Velero and without a backup.
const veleroNote = "Velero runs in this cluster, but its backups hold objects of the API, and are no backup of etcd"

// servesVelero tells whether the cluster serves Velero's kinds. Only the names of the served
// kinds are asked for, for which the operator needs no right.
func servesVelero(live client.Reader) bool {
	knows, ok := live.(interface{ RESTMapper() meta.RESTMapper })
	if !ok {
		return false
	}
	_, err := knows.RESTMapper().RESTMapping(schema.GroupKind{Group: "velero.io", Kind: "Backup"})
	return err == nil
}
