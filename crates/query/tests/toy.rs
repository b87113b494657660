//! The evaluator and the executor on a toy API that counts its evaluations.
#![allow(clippy::unwrap_used, missing_docs)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::BoxFuture;
use rondel_call::{CallSpec, ModuleIdentity, ModuleRef, SealKey};
use rondel_events::Emitter;
use rondel_fault::{Cause, ExecFailure, Fault, Result};
use rondel_gql::types::{self, FieldDef};
use rondel_gql::{Limits, Request, Schema};
use rondel_model::Value;
use rondel_query::{CacheScope, ChildIdentity, Fields, Node, execute};
use rondel_version::View;

type Args = rondel_query::Args<Acting>;
type Caller = rondel_query::Caller<Acting>;
type Evaluator = rondel_query::Evaluator<Acting>;
type Resolver = rondel_query::Resolver<Acting>;
type ResolverContext = rondel_query::ResolverContext<Acting>;

const SDL: &str = r#"
scalar BoxID
directive @expectedType(name: String!) on ARGUMENT_DEFINITION | FIELD_DEFINITION
interface Node { id: ID! }
type Box implements Node {
  id: ID!
  add(n: Int! = 1): Box!
  with(other: ID! @expectedType(name: "Box")): Box!
  total: Int!
  said(word: String = "default"): String
  told(word: String = "default"): String
  parts(n: Int!): [Box!]!
  rows(known: Boolean! = true): [[Box!]!]!
  run(experimentalPrivilegedNesting: Boolean = false): Box!
  ranAs: String!
  fail: Int!
  nothing: Int!
  itself: Box!
}
type Lid implements Node { id: ID! }
type Query {
  box(start: Int = 0): Box!
  lid: Lid!
  session: Box!
  random: Box!
  effect: Int!
  node(id: ID!): Node
}
"#;

#[derive(Clone)]
struct Sum(i64);

#[derive(Default)]
struct Counts {
    add: AtomicUsize,
    effect: AtomicUsize,
    run: AtomicUsize,
}

/// A box in which a process ran, and as which module that acted.
struct Ran(String);

/// The view of the module as which the caller's processes act, for the toy.
struct Acting(Option<Arc<ModuleIdentity>>);

fn module(view: &str) -> Arc<ModuleIdentity> {
    let module = rondel_call::Call::new(None, CallSpec::new("Module", "module"));
    let implementation = rondel_digest::Digest::of_bytes(b"module");
    Arc::new(ModuleIdentity { module: ModuleRef { module, implementation }, view: view.into() })
}

struct World {
    evaluator: Arc<Evaluator>,
    schema: Arc<Schema>,
    counts: Arc<Counts>,
}

struct Known(Arc<Schema>);

impl Fields<Acting> for Known {
    fn find<'a>(
        &'a self,
        _: &'a Arc<Caller>,
        parent: &'a str,
        spec: &'a CallSpec,
    ) -> BoxFuture<'a, Result<Option<Arc<FieldDef>>>> {
        Box::pin(async move { Ok(self.0.types.get(parent).and_then(|t| t.field(&spec.field)).cloned()) })
    }

    fn acting_as<'a>(
        &'a self,
        _: &'a Arc<Evaluator>,
        caller: &'a Arc<Caller>,
        identity: Option<&'a Arc<ModuleIdentity>>,
    ) -> BoxFuture<'a, Result<Arc<Caller>>> {
        let acting = acting(&caller.session, self.0.clone(), identity.cloned(), false);
        Box::pin(std::future::ready(Ok(acting)))
    }
}

fn acting(session: &Arc<str>, schema: Arc<Schema>, identity: Option<Arc<ModuleIdentity>>, adopts: bool) -> Arc<Caller> {
    let context = Arc::new(Acting(identity.clone()));
    let (view, events) = (View::new(0, 21, 8), Emitter::nowhere());
    let caller = Caller::new(session.clone(), session.clone(), view, schema, events, context);
    Arc::new(caller.with_child_identity(ChildIdentity::new(identity, adopts, Arc::default())))
}

fn boxed(n: i64) -> Value {
    Value::object("Box", Sum(n))
}

fn simple(f: impl Fn(&Sum, &Args) -> Result<Value> + Send + Sync + 'static) -> Resolver {
    let f = Arc::new(f);
    Resolver::new(move |_: ResolverContext, node: Node, args: Args| {
        let f = f.clone();
        async move { Ok(f(node.get::<Sum>()?, &args)?.into()) }
    })
}

fn said(_: &Sum, args: &Args) -> Result<Value> {
    Ok(Value::string(format!("{:?} {}", args.opt_str("word")?.as_deref(), args.given("word"))))
}

fn resolver(counts: &Arc<Counts>, type_name: &str, field: &str) -> types::FieldResolver {
    let counts = counts.clone();
    let root = |value: fn(&Args) -> Result<Value>| {
        Resolver::new(move |_, _, args: Args| async move { Ok(value(&args)?.into()) })
    };
    let made = match (type_name, field) {
        (_, "id") => Resolver::new(|cx: ResolverContext, node: Node, _| async move {
            Ok(Value::string(cx.evaluator.id_of(&node)?).into())
        }),
        ("Box", "add") => simple(move |sum, args| {
            counts.add.fetch_add(1, Ordering::SeqCst);
            Ok(boxed(sum.0 + args.int("n")?))
        }),
        ("Box", "with") => Resolver::new(|_, node: Node, args: Args| async move {
            let other = args.object("other").await?;
            Ok(boxed(node.get::<Sum>()?.0 + other.get::<Sum>()?.0).into())
        }),
        ("Box", "total") => simple(|sum, _| Ok(Value::Int(sum.0))),
        ("Box", "parts") => simple(|_, args| Ok(Value::List((0..args.int("n")?).map(boxed).collect()))),
        ("Box", "rows") => simple(|_, args| {
            let known = args.bool("known")?;
            let made = |n: i64| match boxed(n) {
                Value::Object(object) if known => {
                    let spec = CallSpec::new("Box", "box").arg("start", rondel_call::Literal::Int(n));
                    Value::Object(object.from_call(rondel_call::Call::new(None, spec)))
                }
                other => other,
            };
            let row = |start: i64, length: i64| Value::List((start..start + length).map(made).collect());
            Ok(Value::List([row(1, 2), row(3, 0), row(5, 1)].into()))
        }),
        ("Box", "fail") => simple(|_, _| {
            let failure =
                ExecFailure { cmd: vec!["false".into()], exit_code: 3, stdout: "o".into(), stderr: "e".into() };
            let cause = Cause::of_streams("it failed", &failure);
            Err(Fault::exec("it failed", failure).with_causes(vec![cause]))
        }),
        ("Box", "said") => simple(said),
        ("Box", "told") => {
            let module = rondel_call::Call::new(None, CallSpec::new("Module", "module"));
            let implementation = rondel_digest::Digest::of_bytes(b"module");
            Resolver { module: Some(rondel_call::ModuleRef { module, implementation }), ..simple(said) }
        }
        ("Box", "run") => Resolver::new(move |cx: ResolverContext, _, _| {
            counts.run.fetch_add(1, Ordering::SeqCst);
            async move {
                let identity = cx.caller.context.0.clone();
                Ok(Value::object("Box", Ran(identity.map_or("itself".into(), |it| it.view.to_string()))).into())
            }
        }),
        ("Box", "ranAs") => {
            Resolver::new(|_, node: Node, _| async move { Ok(Value::string(&*node.get::<Ran>()?.0).into()) })
        }
        ("Box", "itself") => Resolver::new(|cx: ResolverContext, _, _| async move {
            Ok(cx.evaluator.load(&cx.caller, &cx.call).await?.into())
        }),
        ("Box", "nothing") => simple(|_, _| Ok(Value::Null)),
        ("Query", "box") => root(|args| Ok(boxed(args.int("start")?))),
        ("Query", "lid") => root(|_| Ok(Value::object("Lid", ()))),
        ("Query", "session") => root(|_| Ok(boxed(1))).cache_scope(CacheScope::Session),
        ("Query", "random") => root(|_| Ok(boxed(1))).cache_scope(CacheScope::PerCall),
        ("Query", "effect") => Resolver::new(move |_, _, _| {
            let n = counts.effect.fetch_add(1, Ordering::SeqCst);
            async move { Ok(Value::Int(n as i64).into()) }
        })
        .cache_scope(CacheScope::SideEffect),
        ("Query", "node") => Resolver::new(|cx: ResolverContext, _, args: Args| async move {
            let rondel_call::Literal::Call(call) = args.literal("id") else { return Err(Fault::user("null")) };
            Ok(cx.evaluator.load(&cx.caller, &call).await?.into())
        }),
        _ => return rondel_gql::builtin::nothing(type_name, field),
    };
    made.erased()
}

impl World {
    fn new() -> Self {
        let counts = Arc::new(Counts::default());
        let schema = Arc::new(rondel_gql::builtin::schema(SDL, |t, f| resolver(&counts, t, f)).unwrap());
        let evaluator = Evaluator::new(Arc::new(Known(schema.clone())), 1_000_000, SealKey::derived(&[7; 32]));
        Self { evaluator, schema, counts }
    }

    fn caller(&self, session: &str) -> Arc<Caller> {
        let view = View::new(0, 21, 8);
        let name: Arc<str> = session.into();
        Arc::new(Caller::new(name.clone(), name, view, self.schema.clone(), Emitter::nowhere(), Arc::new(Acting(None))))
    }

    async fn ask_as(&self, caller: &Arc<Caller>, query: &str) -> String {
        let request = Request { query, operation_name: None, variables: None };
        match rondel_gql::prepare(&self.schema, &request, &Limits::default()) {
            Ok(operation) => execute(&self.evaluator, caller, Arc::new(operation)).await.body(),
            Err(e) => e.message,
        }
    }

    async fn ask(&self, query: &str) -> String {
        self.ask_as(&self.caller("s"), query).await
    }

    async fn id(&self, query: &str) -> String {
        let answer = self.ask(query).await;
        let (_, rest) = answer.rsplit_once("\"id\":\"").unwrap();
        rest.split_once('"').unwrap().0.to_owned()
    }
}

async fn check(query: &str, want: &str) {
    assert_eq!(World::new().ask(query).await, want, "{query}");
}

#[tokio::test]
async fn answers_mirror_the_query() {
    check("{box{total}}", r#"{"data":{"box":{"total":0}}}"#).await;
    check("{b:box(start:5){add{x:add(n:2){total}}}}", r#"{"data":{"b":{"add":{"x":{"total":8}}}}}"#).await;
    check(
        "{a:box{total} b:box(start:1){total add{total}}}",
        r#"{"data":{"a":{"total":0},"b":{"total":1,"add":{"total":2}}}}"#,
    )
    .await;
    check("{box{parts(n:2){total}}}", r#"{"data":{"box":{"parts":[{"total":0},{"total":1}]}}}"#).await;
    check("{box{parts(n:0){total}}}", r#"{"data":{"box":{"parts":[]}}}"#).await;
    check(
        "{box{rows{total add{total}}}}",
        r#"{"data":{"box":{"rows":[[{"total":1,"add":{"total":2}},{"total":2,"add":{"total":3}}],[],[{"total":5,"add":{"total":6}}]]}}}"#,
    )
    .await;
    check("{box{__typename}}", r#"{"data":{"box":{"__typename":"Box"}}}"#).await;
    check("{__schema{queryType{name}}}", r#"{"data":{"__schema":{"queryType":{"name":"Query"}}}}"#).await;
}

#[tokio::test]
async fn null_is_told_to_the_code_of_modules_only() {
    let asked = r#"{box{none:WORD null:WORD(word:null) same:WORD(word:"default") other:WORD(word:"x")}}"#;
    let same = r#""same":"Some(\"default\") false","other":"Some(\"x\") true"}}}"#;
    let own = r#"{"data":{"box":{"none":"Some(\"default\") false","null":"Some(\"default\") false","#;
    check(&asked.replace("WORD", "said"), &format!("{own}{same}")).await;
    let module = r#"{"data":{"box":{"none":"Some(\"default\") false","null":"None true","#;
    check(&asked.replace("WORD", "told"), &format!("{module}{same}")).await;
}

#[tokio::test]
async fn objects_come_back_by_their_id() {
    let world = World::new();
    let answer: serde_json::Value = serde_json::from_str(&world.ask("{box{parts(n:3){id}}}").await).unwrap();
    let id = answer["data"]["box"]["parts"][2]["id"].as_str().unwrap().to_owned();
    let answer = world.ask(&format!("{{node(id:\"{id}\"){{... on Box{{total}} ... on Lid{{id}}}}}}")).await;
    assert_eq!(answer, r#"{"data":{"node":{"total":2}}}"#);
    let other = World::new();
    let caller = other.caller("later");
    let answer = other.ask_as(&caller, &format!("{{box(start:10){{with(other:\"{id}\"){{total}}}}}}")).await;
    assert_eq!(answer, r#"{"data":{"box":{"with":{"total":12}}}}"#, "another run of the engine, another session");
}

const RUN: &str = "run(experimentalPrivilegedNesting:true)";

/// The ID of a box in which a process has run that `caller` asked for.
async fn ran(world: &World, caller: &Arc<Caller>) -> String {
    let answer = world.ask_as(caller, &format!("{{box{{{RUN}{{id}}}}}}")).await;
    let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
    answer["data"]["box"][RUN.split_once('(').unwrap().0]["id"].as_str().unwrap().to_owned()
}

/// As whom the process of the box `id` acts when `caller` brings the ID.
async fn ran_as(world: &World, caller: &Arc<Caller>, id: &str) -> String {
    let answer = world.ask_as(caller, &format!("{{node(id:\"{id}\"){{... on Box{{ranAs}}}}}}")).await;
    let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
    answer["data"]["node"]["ranAs"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
}

#[tokio::test]
async fn what_is_asked_for_as_a_module_stays_that_wherever_it_goes() {
    let world = World::new();
    let caller = |view: Option<&str>, adopts| acting(&"s".into(), world.schema.clone(), view.map(module), adopts);
    let id = ran(&world, &caller(Some("v1"), true)).await;
    // A client, and an entrypoint that is given it as an argument.
    assert_eq!(ran_as(&world, &world.caller("s"), &id).await, "v1");
    assert_eq!(ran_as(&world, &caller(Some("v2"), false), &id).await, "v1");
    assert_eq!(world.counts.run.load(Ordering::SeqCst), 1, "nothing ran a second time");
    // Another run of the engine, which remembers nothing.
    let later = World::new();
    assert_eq!(ran_as(&later, &later.caller("s"), &id).await, "v1");
    assert_eq!(later.counts.run.load(Ordering::SeqCst), 1);
    // An SDK that works for another module.
    assert_eq!(ran_as(&world, &caller(Some("v2"), true), &id).await, "v2");
    // And what a client asked for is the client's, unless an SDK brings it.
    let plain = ran(&world, &world.caller("s")).await;
    let later = World::new();
    assert_eq!(ran_as(&later, &caller(Some("v2"), false), &plain).await, "itself");
    assert_eq!(ran_as(&later, &caller(Some("v2"), true), &plain).await, "v2");
}

#[tokio::test]
async fn only_the_engine_says_as_which_module_a_process_acts() {
    let world = World::new();
    let id = ran(&world, &acting(&"s".into(), world.schema.clone(), Some(module("v1")), true)).await;
    let other = Evaluator::new(Arc::new(Known(world.schema.clone())), 1_000, SealKey::derived(&[8; 32]));
    let refused = other.decode(&id).expect_err("of another engine");
    assert!(refused.full_message().contains("did not seal") && !refused.hints().is_empty(), "{refused}");
    assert!(other.decode(&ran(&world, &world.caller("s")).await).is_err(), "one that names no module");
}

#[tokio::test]
async fn an_id_of_another_type_is_refused() {
    let world = World::new();
    let id = world.id("{lid{id}}").await;
    let answer = world.ask(&format!("{{box{{with(other:\"{id}\"){{total}}}}}}")).await;
    assert!(answer.contains("load Box: expected Box, got Lid"), "{answer}");
    let answer = world.ask("{box{with(other:\"nonsense\"){total}}}").await;
    assert!(answer.contains("not an ID: `nonsense`"), "{answer}");
}

#[tokio::test]
async fn the_same_call_is_evaluated_once() {
    let world = World::new();
    let query = "{a:box{add(n:1){total}} b:box{add{total}} c:box(start:0){add{add{total}}}}";
    world.ask(query).await;
    assert_eq!(world.counts.add.load(Ordering::SeqCst), 2, "a value equal to the default is no other call");
    world.ask_as(&world.caller("other"), query).await;
    assert_eq!(world.counts.add.load(Ordering::SeqCst), 2, "sessions share");
}

#[tokio::test]
async fn results_are_shared_as_far_as_they_may_be() {
    let world = World::new();
    assert_eq!(world.id("{session{id}}").await, world.id("{session{id}}").await);
    assert_ne!(world.id("{random{id}}").await, world.id("{random{id}}").await);
    world.ask("{effect}").await;
    assert_eq!(world.ask("{effect}").await, r#"{"data":{"effect":1}}"#);
}

#[tokio::test]
async fn errors_have_the_form_that_clients_read() {
    let answer: serde_json::Value = serde_json::from_str(&World::new().ask("{box{add{fail}}}").await).unwrap();
    assert_eq!(answer["data"], serde_json::Value::Null);
    let error = &answer["errors"][0];
    assert_eq!(error["message"], "it failed");
    assert_eq!(error["path"], serde_json::json!(["box", "add", "fail"]));
    let want = serde_json::json!({
        "_type": "EXEC_ERROR", "code": "EXEC_FAILED", "cmd": ["false"], "exitCode": 3, "stdout": "o", "stderr": "e",
        "rondel.causes": [{
            "message": "it failed",
            "exec": {"cmd": ["false"], "exitCode": 3, "output": {"text": "stdout:\no\nstderr:\ne"}}
        }]
    });
    assert_eq!(error["extensions"], want);
    let answer: serde_json::Value = serde_json::from_str(&World::new().ask("{box{nothing}}").await).unwrap();
    let error = &answer["errors"][0];
    assert!(error["message"].as_str().is_some_and(|text| text.contains("`nothing` must not be null")), "{answer}");
    assert_eq!(error["extensions"], serde_json::json!({"_type": "USER_ERROR", "code": "INVALID_ARGUMENT"}));
}

#[tokio::test]
async fn a_call_that_needs_its_own_result_is_an_error() {
    let answer: serde_json::Value = serde_json::from_str(&World::new().ask("{box{itself{total}}}").await).unwrap();
    let error = &answer["errors"][0];
    assert_eq!(error["extensions"]["code"], "EVALUATION_CYCLE", "{error}");
    assert!(
        error["message"].as_str().is_some_and(|text| text.starts_with("Box.itself needs its own result")),
        "{error}"
    );
}

#[tokio::test]
async fn an_object_in_a_list_of_lists_says_where_it_comes_from() {
    let world = World::new();
    let answer: serde_json::Value = serde_json::from_str(&world.ask("{box{rows{id}}}").await).unwrap();
    let id = answer["data"]["box"]["rows"][0][1]["id"].as_str().unwrap().to_owned();
    let answer = world.ask(&format!("{{node(id:\"{id}\"){{... on Box{{total}}}}}}")).await;
    assert_eq!(answer, r#"{"data":{"node":{"total":2}}}"#);
    let answer = world.ask("{box{rows(known:false){total}}}").await;
    assert!(answer.contains(r#""path":["box","rows",0,0]"#), "{answer}");
}

#[tokio::test]
async fn depth_costs_no_stack() {
    let world = World::new();
    let depth = 5_000;
    let query = format!("{{box{}{{total}}{}}}", "{add".repeat(depth), "}".repeat(depth));
    let answer = world.ask(&query).await;
    assert!(answer.contains(r#"{"total":5000}"#), "{}", &answer[..200.min(answer.len())]);
    let fan = format!("{{box{}{{total}}{}}}", "{t:total add".repeat(2_000), "}".repeat(2_000));
    let answer = world.ask(&fan).await;
    assert!(answer.contains(r#"{"total":2000}"#), "{}", &answer[answer.len() - 200..]);
    let id = world.id(&format!("{{box{}{{id}}{}}}", "{add".repeat(depth), "}".repeat(depth))).await;
    let fresh = World::new();
    let answer = fresh.ask(&format!("{{node(id:\"{id}\"){{... on Box{{total}}}}}}")).await;
    assert_eq!(answer, r#"{"data":{"node":{"total":5000}}}"#);
}
