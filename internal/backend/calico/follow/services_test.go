// SPDX-License-Identifier: Apache-2.0

package follow

import (
	"testing"

	. "github.com/onsi/gomega"
)

func TestMigrationVersion(t *testing.T) {
	g := NewWithT(t)
	g.Expect(migrationVersion([]apiService{{group: "projectcalico.org", version: "v3"}})).To(BeEmpty())
	g.Expect(migrationVersion([]apiService{
		{group: migrationGroup, version: "v1beta1"}, {group: migrationGroup, version: "v1"}, {group: migrationGroup, version: "v1alpha1"},
	})).To(Equal("v1"))
}

func TestMigrationProblem(t *testing.T) {
	g := NewWithT(t)
	g.Expect(migration{name: "m"}.describeProblem()).To(ContainSubstring("DatastoreMigration m has not started; the operator writes nothing"))
	g.Expect(migration{name: "m", phase: "Failed", message: "no"}.describeProblem()).To(ContainSubstring("DatastoreMigration m is in phase Failed (no); the operator writes nothing"))
}
