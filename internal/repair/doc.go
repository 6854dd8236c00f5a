// SPDX-License-Identifier: Apache-2.0

// Package repair carries out one write that ends the drift of one object, and remembers how
// that went: when to try again, what was refused, and which policies wait for a release.
package repair
