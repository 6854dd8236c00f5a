// SPDX-License-Identifier: Apache-2.0

package calicowatch

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// migrationComplete is the phase of a migration that is over. Before it, in
// phase Converged, the objects have been copied and the datastore is unlocked,
// but parts of Calico may still run on the old ones.
const migrationComplete = "Complete"

// migrating is the reading of DatastoreMigrations, which Calico has from v3.32
// on: they move its objects from the API server's storage to CRDs.
type migrating struct {
	*reading
	version string
	all     *store[migration]
}

// migration is what matters of a DatastoreMigration.
type migration struct{ name, phase, message string }

func (f *Follower) readMigrations(ctx context.Context, version string) *migrating {
	r := f.newReading(ctx)
	m := &migrating{reading: r, version: version}
	m.all = follow(r, kind{
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

// problem names the first migration that is not over.
func (m *migrating) problem() string {
	for _, migration := range m.all.list() {
		if migration.phase != migrationComplete {
			return migration.problem()
		}
	}
	return ""
}

func (m migration) problem() string {
	phase := "has not begun"
	if m.phase != "" {
		phase = "is in phase " + m.phase
	}
	if m.message != "" {
		phase += " (" + m.message + ")"
	}
	return fmt.Sprintf("a migration of Calico's datastore is under way: DatastoreMigration %s %s; "+
		"nothing is written until its phase is %s; see kubectl describe datastoremigration %s", m.name, phase, migrationComplete, m.name)
}
