// SPDX-License-Identifier: Apache-2.0

package follow

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// migrationComplete is the phase of a finished migration. In the phase before,
// Converged, the objects have been copied and the datastore is unlocked, but parts of
// Calico may still use the old objects.
const migrationComplete = "Complete"

// migrating is the reading of DatastoreMigrations. Since v3.32, Calico has
// DatastoreMigrations, which move the objects of Calico from the storage of the API
// server to CRDs.
type migrating struct {
	*reading
	version string
	all     *store[migration]
}

// migration holds the used fields of a DatastoreMigration.
type migration struct{ name, phase, message string }

func (f *Follower) followMigrations(ctx context.Context, version string) *migrating {
	r := f.newReading(ctx)
	m := &migrating{reading: r, version: version}
	m.all = followKind(r, kind{
		GroupVersionResource: schema.GroupVersionResource{Group: migrationGroup, Version: version, Resource: "datastoremigrations"},
		name:                 "DatastoreMigration",
	}, readMigration)
	r.start()
	return m
}

func readMigration(object *unstructured.Unstructured) (migration, bool) {
	m := migration{name: object.GetName()}
	m.phase, _, _ = unstructured.NestedString(object.Object, "status", "phase")
	m.message, _, _ = unstructured.NestedString(object.Object, "status", "message")
	return m, true
}

// firstProblem describes the first unfinished migration.
func (m *migrating) firstProblem() string {
	for _, migration := range m.all.list() {
		if migration.phase != migrationComplete {
			return migration.describeProblem()
		}
	}
	return ""
}

func (m migration) describeProblem() string {
	phase := "has not started"
	if m.phase != "" {
		phase = "is in phase " + m.phase
	}
	if m.message != "" {
		phase += " (" + m.message + ")"
	}
	return fmt.Sprintf("a migration of Calico's datastore is in progress: DatastoreMigration %s %s; "+
		"the operator writes nothing until the phase is %s; see kubectl describe datastoremigration %s", m.name, phase, migrationComplete, m.name)
}
