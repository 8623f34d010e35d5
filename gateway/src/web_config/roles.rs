//! What a caller may do.

/// One thing that a caller may be allowed to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Queries, metadata, status, own metrics.
    Read,
    /// Remote write and the other receivers of samples.
    Write,
    /// Pushes as to a Pushgateway.
    Push,
    /// Everything that changes the server or deletes data; includes the other roles.
    Admin,
}

/// A set of roles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Roles(u8);

impl Role {
    /// All, in the order of the documentation.
    pub const ALL: [Role; 4] = [Role::Read, Role::Write, Role::Push, Role::Admin];

    /// The word in the file.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Read => "read",
            Role::Write => "write",
            Role::Push => "push",
            Role::Admin => "admin",
        }
    }

    /// The role of that word.
    pub fn from_word(word: &str) -> Option<Role> {
        Role::ALL.into_iter().find(|role| role.as_str() == word)
    }

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

impl Roles {
    /// Whatever there is to do: a caller with a password or a client certificate, as in exporter-toolkit, and everybody where nothing is
    /// asked for.
    pub const ALL: Roles = Roles(0b1111);

    /// With one role more.
    pub fn with(self, role: Role) -> Roles {
        match role {
            Role::Admin => Roles::ALL,
            role => Roles(self.0 | role.bit()),
        }
    }

    /// Is this role among them?
    pub fn has(self, role: Role) -> bool {
        self.0 & role.bit() != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn admin_is_everything_and_the_others_are_themselves() {
        for role in Role::ALL {
            assert_eq!(Role::from_word(role.as_str()), Some(role));
            assert!(Roles::default().with(Role::Admin).has(role));
            let one = Roles::default().with(role);
            for other in Role::ALL {
                let expected = role == other || role == Role::Admin;
                assert_eq!(one.has(other), expected, "{role:?} {other:?}");
            }
        }
        assert_eq!(Role::from_word("Read"), None);
    }
}
