// SPDX-License-Identifier: Apache-2.0

package backup

import (
	"fmt"
	"strings"
)

// source is the name of a source in spec.posture.etcdBackup.source.
type source string

const (
	sourceJobs          source = "jobs"
	sourceLease         source = "lease"
	sourceEtcdDruid     source = "etcdDruid"
	sourceSnapshotFiles source = "snapshotFiles"
)

// Right is a verb on a resource of an API group.
type Right struct{ Verb, Group, Resource string }

// Rights returns the rights needed to read each source, by the name of the source. By
// default the operator has none of these rights: config/rbac/backup_reader_role.yaml has a
// ClusterRole for each source, and administrators bind the role of the wanted source. The
// annotation needs no rights.
func Rights() map[string][]Right {
	return map[string][]Right{
		string(sourceJobs):          {{"list", "batch", "cronjobs"}, {"list", "batch", "jobs"}},
		string(sourceLease):         {{"get", "coordination.k8s.io", "leases"}},
		string(sourceEtcdDruid):     {{"get", etcdKind.Group, "etcds"}, {"get", "coordination.k8s.io", "leases"}},
		string(sourceSnapshotFiles): {{"list", snapshotFileKind.Group, "etcdsnapshotfiles"}},
	}
}

// grantCommand returns the command that grants the operator the rights to read the source
// of a refused request: in one namespace if the source has a namespace, and single objects
// by name.
func grantCommand(asked request, refusal error) string {
	rights := Rights()[string(asked.source)]
	var resources []string
	for _, right := range rights {
		resources = append(resources, right.Resource+"."+right.Group)
	}
	role := "cpnp-backup-" + strings.ToLower(string(asked.source))
	kind, in := "role", " --namespace="+shellWord(asked.namespace)
	if asked.namespace == "" {
		kind, in = "clusterrole", ""
	}
	names := ""
	for _, name := range grantedNames(asked) {
		names += " --resource-name=" + shellWord(name)
	}
	create := fmt.Sprintf("kubectl create %s %s%s --verb=%s --resource=%s%s",
		kind, role, in, rights[0].Verb, strings.Join(resources, ","), names)
	bind := fmt.Sprintf("kubectl create %sbinding %s%s --%s=%s --serviceaccount=%s", kind, role, in, kind, role, accountOf(refusal))
	return create + " && " + bind
}

// grantedNames returns the names of the objects that a source consists of. A list cannot be
// granted by name.
func grantedNames(asked request) []string {
	switch asked.source {
	case sourceLease:
		return []string{asked.name}
	case sourceEtcdDruid:
		etcd := asked.name
		if asked.of != "" {
			etcd = asked.of
		}
		return append([]string{etcd}, snapshotLeases(etcd)...)
	default:
		return nil
	}
}
