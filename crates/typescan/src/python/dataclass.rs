//! The fields of dataclasses and the parameters of their constructors.

use std::rc::Rc;

use super::ast::ExprKind;
use super::hints::Place;
use super::interpreter::{Interpreter, Scan, Scope};
use super::values::{ClassId, FieldDefault, FieldSpec, Hint, Value};

/// A field of a dataclass.
#[derive(Clone, Debug)]
pub(super) struct DataField {
    pub(super) name: String,
    /// The annotation.
    pub(super) hint: Value,
    /// Where the annotation is.
    pub(super) owner: ClassId,
    pub(super) line: u32,
    pub(super) spec: Rc<FieldSpec>,
    pub(super) keyword_only: bool,
    /// Whether it is a parameter of the constructor and no field.
    pub(super) init_only: bool,
}

impl Interpreter<'_> {
    /// The fields of a class, in the order of its constructor before keyword-only ones go last.
    pub(super) fn data_fields(&mut self, id: ClassId) -> Scan<Vec<DataField>> {
        let mut fields: Vec<DataField> = Vec::new();
        let mro = self.classes[id].mro.clone();
        for owner in mro.into_iter().rev() {
            let Some(keyword_only) = self.classes[owner].dataclass else { continue };
            for field in self.own_fields(owner, keyword_only)? {
                match fields.iter_mut().find(|known| known.name == field.name) {
                    Some(known) => *known = field,
                    None => fields.push(field),
                }
            }
        }
        Ok(fields)
    }

    fn own_fields(&mut self, id: ClassId, keyword_only: bool) -> Scan<Vec<DataField>> {
        let scope = Scope { module: self.classes[id].module, class: None };
        let annotations = self.classes[id].annotations.clone();
        self.check_fields(scope, id)?;
        let mut fields = Vec::new();
        for (name, hint, line) in annotations {
            let at = Place { scope, line };
            let kind = self.kind_of_field(at, &hint)?;
            if kind == FieldKind::ClassVariable {
                continue;
            }
            if self.is_inherited(id, &name) {
                return self.undecided(scope, line, format!("the field `{name}` has a default in a base class"));
            }
            let spec = match self.classes[id].namespace.get(&name) {
                None => plain(FieldDefault::None),
                Some(Value::Field(spec)) => spec.clone(),
                Some(Value::Unknown(reason)) => {
                    let reason = reason.clone();
                    return self.undecided(scope, line, format!("the field `{name}` is computed: {reason}"));
                }
                Some(value) => plain(FieldDefault::Value(value.clone())),
            };
            if let FieldDefault::Value(Value::List(_) | Value::Dict(_)) = spec.default {
                return self.undecided(scope, line, format!("the default of `{name}` is a list"));
            }
            let keyword_only = spec.keyword_only.unwrap_or(keyword_only);
            let init_only = kind == FieldKind::InitOnly;
            fields.push(DataField { name, hint, owner: id, line, spec, keyword_only, init_only });
        }
        Ok(fields)
    }

    /// Checks that no field lacks an annotation, which Python refuses.
    fn check_fields(&self, scope: Scope, id: ClassId) -> Scan<()> {
        let class = &self.classes[id];
        for (name, value) in class.namespace.iter() {
            let annotated = class.annotations.iter().any(|(known, ..)| known == name);
            if matches!(value, Value::Field(_)) && !annotated {
                return self.undecided(scope, class.def.line, format!("the field `{name}` has no annotation"));
            }
        }
        Ok(())
    }

    fn is_inherited(&self, id: ClassId, name: &str) -> bool {
        let own = self.classes[id].namespace.get(name).is_some();
        let bases = &self.classes[id].mro[1..];
        !own && bases.iter().any(|base| self.classes[*base].namespace.get(name).is_some())
    }

    fn kind_of_field(&mut self, at: Place, hint: &Value) -> Scan<FieldKind> {
        // Python looks at the text of a string annotation, without evaluating it.
        let textual =
            matches!(hint, Value::Str(_)) || matches!(hint, Value::Hint(hint) if matches!(**hint, Hint::Deferred(_)));
        let value = self.evaluated(at, hint)?;
        Ok(match &value {
            Value::Foreign(path) if **path == *"dataclasses.KW_ONLY" => {
                return self.undecided(at.scope, at.line, "`KW_ONLY` in a class");
            }
            Value::Foreign(path) if **path == *"typing.ClassVar" => FieldKind::ClassVariable,
            Value::Foreign(path) if **path == *"dataclasses.InitVar" => FieldKind::InitOnly,
            Value::Hint(hint) => match &**hint {
                Hint::ClassVar => FieldKind::ClassVariable,
                Hint::InitVar(_) if textual => {
                    return self.undecided(at.scope, at.line, "`InitVar` in a string annotation");
                }
                Hint::InitVar(_) => FieldKind::InitOnly,
                Hint::Annotated(inner, _) => {
                    let inner = self.evaluated(at, inner)?;
                    if matches!(&inner, Value::Hint(hint) if matches!(**hint, Hint::InitVar(_) | Hint::ClassVar)) {
                        return self.undecided(at.scope, at.line, "`InitVar` or `ClassVar` in `Annotated`");
                    }
                    FieldKind::Field
                }
                _ => FieldKind::Field,
            },
            _ => FieldKind::Field,
        })
    }

    /// Whether the library sees an annotation as a string.
    pub(super) fn is_textual(hint: &Value) -> bool {
        match hint {
            Value::Str(_) => true,
            Value::Hint(hint) => matches!(&**hint, Hint::Deferred(expr) if !matches!(expr.kind, ExprKind::Ellipsis)),
            _ => false,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum FieldKind {
    Field,
    InitOnly,
    ClassVariable,
}

fn plain(default: FieldDefault) -> Rc<FieldSpec> {
    Rc::new(FieldSpec { default, init: true, keyword_only: None, exposed: None })
}
