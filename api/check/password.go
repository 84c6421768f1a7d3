package check

import "fmt"

// Bounds of a hash's cost. MaxArgon2Work is passes times KiB. A core processes about 1 GiB per second, so that one verification
// takes about a second at most.
const (
	MaxArgon2Passes = 16
	MaxArgon2Lanes  = 16
	MaxArgon2Work   = 1 << 20
	MinBcryptCost   = 10
	MaxBcryptCost   = 15
)

// Argon2Passes refuses a number of passes that is out of range.
func Argon2Passes(passes int) error {
	if passes < 1 || passes > MaxArgon2Passes {
		return fmt.Errorf("%d is not between 1 and %d; write a number of passes in that range, for example 2", passes, MaxArgon2Passes)
	}
	return nil
}

// Argon2Lanes refuses a parallelism that is out of range.
func Argon2Lanes(lanes int) error {
	if lanes < 1 || lanes > MaxArgon2Lanes {
		return fmt.Errorf("%d is not between 1 and %d; write a number of lanes in that range, for example 1", lanes, MaxArgon2Lanes)
	}
	return nil
}

// Argon2Memory checks memory, in KiB. It refuses less than the minimum of OWASP's Password Storage Cheat Sheet (t=1, m=46 MiB;
// t=2, m=19 MiB; t=3, m=12 MiB), and more than MaxArgon2Work divided by passes.
func Argon2Memory(memory, passes int) error {
	least := 12 << 10
	switch passes {
	case 1:
		least = 46 << 10
	case 2:
		least = 19 << 10
	}
	switch {
	case memory < least:
		return fmt.Errorf("%d KiB is less than the %d KiB that OWASP recommends for passes: %d; raise memory or passes, for example memory: 19MiB with passes: 2", memory, least, passes)
	case memory > MaxArgon2Work/max(passes, 1):
		return fmt.Errorf("%d KiB with passes: %d takes more than about a second; lower one of them: memory times passes is at most %d MiB", memory, passes, MaxArgon2Work>>10)
	}
	return nil
}

// BcryptCost refuses a cost below OWASP's minimum, and one with which a verification takes seconds.
func BcryptCost(cost int) error {
	if cost < MinBcryptCost || cost > MaxBcryptCost {
		return fmt.Errorf("cost %d is not between %d and %d; write a cost in that range, for example 12", cost, MinBcryptCost, MaxBcryptCost)
	}
	return nil
}
