//! Expressions that choose devices.

use std::sync::LazyLock;

use crate::api::{
    cel::{CompileError, Environment, Opaque, Program, Type},
    field::{self, Path},
    status::Cause,
};

/// What expressions may name: the device. Its attributes are of any type.
static DEVICE: LazyLock<Environment> = LazyLock::new(|| {
    let by_domain = |value| Type::map(Type::String, Type::map(Type::String, value));
    let fields = [
        ("driver", Type::String),
        ("attributes", by_domain(Type::Dyn)),
        ("capacity", by_domain(Type::Opaque(Opaque::Quantity))),
        ("allowMultipleAllocations", Type::Bool),
    ];
    Environment::new().with("device", Type::object("kubernetes.DRADevice", fields))
});

/// What is wrong with an expression.
pub fn validate(text: &str, path: &Path) -> Option<Cause> {
    match Program::compile(text, &DEVICE, &[]) {
        Ok(program) => match program.output() {
            Type::Bool | Type::Dyn => None,
            other => {
                let detail = format!("must evaluate to bool or the unknown type, not {other}");
                Some(field::invalid(path, text, &detail))
            }
        },
        Err(error @ CompileError::Constant(_)) => Some(field::internal(path, error)),
        Err(error) => Some(field::invalid(path, text, &error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_are_about_a_device() {
        let problem = |text| validate(text, &Path::new("e")).map(|cause| cause.message);
        for text in [
            "true",
            "device.attributes['a.b'].c",
            "device.driver == 'a' && device.capacity['a.b'].c.compareTo(quantity('1Gi')) >= 0",
            "cel.bind(dra, device.attributes['a.b'], dra.one && dra.other == 'x')",
        ] {
            assert_eq!(problem(text), None, "{text}");
        }
        assert_eq!(problem("7").unwrap(), "Invalid value: \"7\": must evaluate to bool or the unknown type, not int");
        assert_eq!(
            problem("other").unwrap(),
            "Invalid value: \"other\": compilation failed: ERROR: <input>:1:1: undeclared reference to 'other' (in \
             container '')\n | other\n | ^"
        );
    }
}
