//! Macros: calls that stand for other trees (cel-spec, "Macros", and cel-go's extensions). What they are
//! made of is part of their behaviour, since it decides what they cost.

use super::{Parser, Result};
use crate::api::cel::ast::{ACCUMULATOR, Expr, Fold, Kind, Literal, UNUSED};

/// The variables of a macro: the item, or the index and the item.
struct Variables {
    first: Box<str>,
    second: Option<Box<str>>,
}

impl Parser<'_> {
    /// A call without a target.
    pub(super) fn function(&mut self, mark: usize, name: &str, mut arguments: Vec<Expr>) -> Result<Expr> {
        if name != "has" || arguments.len() != 1 {
            return self.tree.call(mark, name, None, arguments);
        }
        let argument = arguments.remove(0);
        match argument.kind {
            Kind::Select { operand, field, .. } => self.tree.node(mark, Kind::Select { operand, field, test: true }),
            _ => self.refuse(&argument, "invalid argument to has() macro"),
        }
    }

    /// A call with a target.
    pub(super) fn method(&mut self, mark: usize, name: &str, target: Expr, arguments: Vec<Expr>) -> Result<Expr> {
        match (name, arguments.len()) {
            ("all" | "exists" | "exists_one" | "existsOne", 2 | 3) => self.quantifier(mark, name, target, arguments),
            ("map", 2 | 3) => self.mapping(mark, target, arguments),
            ("filter", 2) => self.filter(mark, target, arguments),
            ("transformList" | "transformMap" | "transformMapEntry", 3 | 4) => {
                self.transform(mark, name, target, arguments)
            }
            ("optMap" | "optFlatMap", 2) => self.optional(mark, name, target, arguments),
            ("sortBy", 2) => self.sort_by(mark, target, arguments),
            ("bind", 3) if target.ident() == Some("cel") => {
                let [variable, start, result] = three(arguments);
                match variable.ident().map(Box::from) {
                    Some(name) => self.binding(mark, name, start, result),
                    None => self.refuse(&variable, "cel.bind() variable names must be simple identifiers"),
                }
            }
            _ => self.tree.call(mark, name, Some(target), arguments),
        }
    }

    fn quantifier(&mut self, mark: usize, name: &str, range: Expr, mut arguments: Vec<Expr>) -> Result<Expr> {
        let test = arguments.pop().expect("there are two at least");
        let Some(variables) = self.variables(&arguments, "argument must be a simple name")? else { return Ok(range) };
        let (start, condition, step, result) = match name {
            "all" => {
                let accumulator = self.accumulator(mark)?;
                let condition = self.tree.call(mark, "@not_strictly_false", None, vec![accumulator])?;
                let step = self.join(mark, "_&&_", test)?;
                (Literal::Bool(true), condition, step, self.accumulator(mark)?)
            }
            "exists" => {
                let accumulator = self.accumulator(mark)?;
                let negated = self.tree.call(mark, "!_", None, vec![accumulator])?;
                let condition = self.tree.call(mark, "@not_strictly_false", None, vec![negated])?;
                let step = self.join(mark, "_||_", test)?;
                (Literal::Bool(false), condition, step, self.accumulator(mark)?)
            }
            _ => {
                let condition = self.tree.literal(mark, Literal::Bool(true))?;
                let one = self.tree.literal(mark, Literal::Int(1))?;
                let more = self.join(mark, "_+_", one)?;
                let step = self.unless(mark, Some(test), more)?;
                let one = self.tree.literal(mark, Literal::Int(1))?;
                (Literal::Int(0), condition, step, self.join(mark, "_==_", one)?)
            }
        };
        let start = self.tree.literal(mark, start)?;
        self.fold(mark, range, variables, [start, condition, step, result])
    }

    fn mapping(&mut self, mark: usize, range: Expr, mut arguments: Vec<Expr>) -> Result<Expr> {
        let value = arguments.pop().expect("there are two at least");
        let test = (arguments.len() == 2).then(|| arguments.pop()).flatten();
        let Some(variables) = self.variables(&arguments, "argument is not an identifier")? else { return Ok(range) };
        let item = self.tree.items(mark, vec![value])?;
        let step = self.join(mark, "_+_", item)?;
        self.collect(mark, range, variables, test, step)
    }

    fn filter(&mut self, mark: usize, range: Expr, mut arguments: Vec<Expr>) -> Result<Expr> {
        let test = arguments.pop();
        let Some(variables) = self.variables(&arguments, "argument is not an identifier")? else { return Ok(range) };
        let item = self.tree.items(mark, arguments)?;
        let step = self.join(mark, "_+_", item)?;
        self.collect(mark, range, variables, test, step)
    }

    fn transform(&mut self, mark: usize, name: &str, range: Expr, mut arguments: Vec<Expr>) -> Result<Expr> {
        let value = arguments.pop().expect("there are three at least");
        let test = (arguments.len() == 3).then(|| arguments.pop()).flatten();
        let Some(variables) = self.variables(&arguments, "argument must be a simple name")? else { return Ok(range) };
        if name == "transformList" {
            let item = self.tree.items(mark, vec![value])?;
            let step = self.join(mark, "_+_", item)?;
            return self.collect(mark, range, variables, test, step);
        }
        let mut inserted = vec![self.accumulator(mark)?];
        if name == "transformMap" {
            inserted.push(self.tree.ident(mark, &variables.first)?);
        }
        inserted.push(value);
        let step = self.tree.call(mark, "cel.@mapInsert", None, inserted)?;
        let step = self.unless(mark, test, step)?;
        let start = self.tree.node(mark, Kind::Map(Vec::new()))?;
        self.gather(mark, range, variables, start, step)
    }

    /// `target.hasValue() ? optional.of(<value with target.value()>) : optional.none()`
    fn optional(&mut self, mark: usize, name: &str, target: Expr, arguments: Vec<Expr>) -> Result<Expr> {
        let [variable, value] = two(arguments);
        let Some(bound) = variable.ident().map(Box::from) else {
            return self.refuse(&variable, &format!("{name}() variable name must be a simple identifier"));
        };
        let again = self.tree.copy(&target)?;
        let present = self.tree.call(mark, "hasValue", Some(target), Vec::new())?;
        let inner = self.tree.call(mark, "value", Some(again), Vec::new())?;
        let mut value = self.binding(mark, bound, inner, value)?;
        if name == "optMap" {
            value = self.tree.call(mark, "optional.of", None, vec![value])?;
        }
        let none = self.tree.call(mark, "optional.none", None, Vec::new())?;
        self.tree.call(mark, "_?_:_", None, vec![present, value, none])
    }

    fn sort_by(&mut self, mark: usize, target: Expr, arguments: Vec<Expr>) -> Result<Expr> {
        const INPUT: &str = "@__sortBy_input__";
        if !matches!(
            target.kind,
            Kind::List(_) | Kind::Select { .. } | Kind::Ident(_) | Kind::Fold(_) | Kind::Call { .. }
        ) {
            let message = "sortBy can only be applied to a list, identifier, comprehension, call or select expression";
            return self.refuse(&target, message);
        }
        let range = self.tree.ident(mark, INPUT)?;
        let keys = self.mapping(mark, range, arguments)?;
        let input = self.tree.ident(mark, INPUT)?;
        let sorted = self.tree.call(mark, "@sortByAssociatedKeys", Some(input), vec![keys])?;
        self.binding(mark, INPUT.into(), target, sorted)
    }

    /// Gives a value a name in `result`.
    fn binding(&mut self, mark: usize, name: Box<str>, value: Expr, result: Expr) -> Result<Expr> {
        let range = self.tree.node(mark, Kind::List(Vec::new()))?;
        let condition = self.tree.literal(mark, Literal::Bool(false))?;
        let step = self.tree.ident(mark, &name)?;
        let fold = Fold {
            range,
            variable: UNUSED.into(),
            second: None,
            accumulator: name,
            start: value,
            condition,
            step,
            result,
        };
        self.tree.node(mark, Kind::Fold(Box::new(fold)))
    }

    /// Goes through everything and accumulates a list.
    fn collect(
        &mut self,
        mark: usize,
        range: Expr,
        variables: Variables,
        test: Option<Expr>,
        step: Expr,
    ) -> Result<Expr> {
        let step = self.unless(mark, test, step)?;
        let start = self.tree.node(mark, Kind::List(Vec::new()))?;
        self.gather(mark, range, variables, start, step)
    }

    fn gather(&mut self, mark: usize, range: Expr, variables: Variables, start: Expr, step: Expr) -> Result<Expr> {
        let condition = self.tree.literal(mark, Literal::Bool(true))?;
        let result = self.accumulator(mark)?;
        self.fold(mark, range, variables, [start, condition, step, result])
    }

    fn fold(&mut self, mark: usize, range: Expr, variables: Variables, parts: [Expr; 4]) -> Result<Expr> {
        let [start, condition, step, result] = parts;
        let Variables { first: variable, second } = variables;
        let accumulator = ACCUMULATOR.into();
        let fold = Fold { range, variable, second, accumulator, start, condition, step, result };
        self.tree.node(mark, Kind::Fold(Box::new(fold)))
    }

    /// `<test> ? <step> : <accumulator>`, or the step alone.
    fn unless(&mut self, mark: usize, test: Option<Expr>, step: Expr) -> Result<Expr> {
        let Some(test) = test else { return Ok(step) };
        let accumulator = self.accumulator(mark)?;
        self.tree.call(mark, "_?_:_", None, vec![test, step, accumulator])
    }

    /// The accumulator and something else.
    fn join(&mut self, mark: usize, function: &str, other: Expr) -> Result<Expr> {
        let accumulator = self.accumulator(mark)?;
        self.tree.call(mark, function, None, vec![accumulator, other])
    }

    fn accumulator(&mut self, mark: usize) -> Result<Expr> {
        self.tree.ident(mark, ACCUMULATOR)
    }

    /// The names of one or two variables; none if they are wrong, which is noted.
    fn variables(&mut self, arguments: &[Expr], message: &str) -> Result<Option<Variables>> {
        for argument in arguments {
            let reserved = argument.ident() == Some("__result__");
            if argument.ident().is_none() || reserved {
                let message = if reserved { "iteration variable overwrites accumulator variable" } else { message };
                self.refuse(argument, message)?;
                return Ok(None);
            }
        }
        let mut names = arguments.iter().filter_map(Expr::ident);
        let first: Box<str> = names.next().unwrap_or_default().into();
        let second: Option<Box<str>> = names.next().map(Into::into);
        if second.as_ref() == Some(&first) {
            self.refuse(&arguments[1], &format!("duplicate variable name: {first}"))?;
            return Ok(None);
        }
        Ok(Some(Variables { first, second }))
    }

    /// Notes what is wrong with an argument and goes on with something in its place.
    fn refuse(&mut self, argument: &Expr, message: &str) -> Result<Expr> {
        let place = self.tree.place(argument.id);
        self.problems.push((Some(place), message.to_owned()));
        self.tree.literal(place, Literal::Null)
    }
}

fn two(arguments: Vec<Expr>) -> [Expr; 2] {
    arguments.try_into().expect("the macro was chosen by its number of arguments")
}

fn three(arguments: Vec<Expr>) -> [Expr; 3] {
    arguments.try_into().expect("the macro was chosen by its number of arguments")
}
