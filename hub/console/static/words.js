// Every word of the page, in both languages. Chinese or English: the reader's first choice, remembered.

const STORED = "hub.console.lang";

const WORDS = {
  title: ["Notification hub", "消息中心"],
  skip: ["Skip to the content", "跳到主要内容"],
  language: ["Language", "语言"],
  links: ["Documents", "文档"],
  link_docs: ["REST API", "REST 接口"],
  link_metrics: ["Metrics", "监控指标"],
  intro: [
    "One ordered queue per person. Try it below with two phones: they are real sessions on this hub.",
    "每个人一条有序队列。在下面用两部手机试一试：它们是这个消息中心上真实的会话。",
  ],

  health: ["Health", "运行状态"],
  health_checking: ["Checking …", "检查中…"],
  health_ready: ["Ready", "就绪"],
  health_not_ready: ["Not ready", "未就绪"],
  health_unreachable: ["Cannot be reached", "无法连接"],
  health_at: ["Checked at {time}, every 5 seconds", "检查于 {time}，每 5 秒一次"],
  dep_database: ["Database", "数据库"],
  dep_redis: ["Redis", "Redis"],
  dep_subscription: ["Subscription between nodes", "节点间订阅"],
  dep_ok: ["working", "正常"],
  dep_down: ["not working", "异常"],
  ms: ["{ms} ms", "{ms} 毫秒"],

  try: ["Try it", "试一试"],
  step_one: ["Connect two phones", "连接两部手机"],
  step_one_text: [
    "Write on one and watch the message arrive on the other, step by step.",
    "在一部上发消息，看它一步步到达另一部。",
  ],
  step_two: ["Disconnect one", "断开其中一部"],
  step_two_text: ["What you send now waits in its queue on the hub.", "这时发出的消息会在消息中心的队列里等待。"],
  step_three: ["Reconnect it", "重新连接"],
  step_three_text: ["All that it missed comes, once and in order.", "错过的消息会补齐：不重复，顺序不变。"],
  key: ["API key", "接口密钥"],
  key_hint: [
    "Printed when the hub starts, and in data/api_key. Kept in this tab only, and gone when you close it.",
    "启动时会显示，也在 data/api_key 文件里。只保存在当前标签页，关闭即清除。",
  ],
  key_show: ["Show the key", "显示密钥"],
  user_left: ["First user", "第一位用户"],
  user_right: ["Second user", "第二位用户"],
  users_hint: ["Users who are not known yet are made.", "还不存在的用户会自动创建。"],
  connect: ["Connect both phones", "连接两部手机"],
  connecting: ["Connecting …", "连接中…"],
  leave: ["Disconnect and forget the key", "断开并清除密钥"],
  connected_as: ["Connected as {left} and {right}", "已连接：{left} 和 {right}"],
  same_user: ["Choose two different users.", "请填写两位不同的用户。"],
  missing: ["Fill in the key and both users.", "请填写密钥和两位用户。"],
  key_refused: [
    "The hub does not know this key. Copy it again, all of it.",
    "消息中心不认识这个密钥，请重新完整复制。",
  ],
  key_forbidden: [
    "This key may not mint users' tokens (scope tokens:write).",
    "这个密钥无权签发用户令牌（需要 tokens:write）。",
  ],
  unreachable: ["The hub cannot be reached.", "无法连接到消息中心。"],
  failed: ["The hub answered: {detail}", "消息中心答复：{detail}"],

  phones: ["Two phones", "两部手机"],
  phone_of: ["Phone of {user}", "{user} 的手机"],
  state_off: ["Disconnected", "已断开"],
  state_connecting: ["Connecting", "连接中"],
  state_live: ["Connected", "已连接"],
  state_waiting: ["Lost; trying again in {s} s", "连接中断，{s} 秒后重试"],
  state_refused: ["Refused: {reason}", "被拒绝：{reason}"],
  peer_online: ["{user} is online", "{user} 在线"],
  peer_offline: ["{user} is offline", "{user} 离线"],
  peer_unknown: ["{user}: presence not known", "{user}：在线状态未知"],
  peer_typing: ["{user} is typing …", "{user} 正在输入…"],
  unread: ["Unread: {n}", "未读 {n} 条"],
  mark_read: ["Mark as read", "标为已读"],
  waits: ["Waiting on the hub: {n}", "在消息中心等待：{n} 条"],
  disconnect: ["Disconnect", "断开"],
  reconnect: ["Reconnect", "重新连接"],
  messages: ["Messages", "消息"],
  empty: ["No messages yet. Write one below.", "还没有消息，在下面写一条。"],
  write_as: ["Message from {user}", "以 {user} 的身份发消息"],
  write: ["Write a message", "写一条消息"],
  send: ["Send", "发送"],
  system: ["Business system", "业务系统"],
  notification: ["Notification", "通知"],
  from: ["From {user}", "来自 {user}"],
  rebased: ["Older messages are no longer in the queue.", "更早的消息已不在队列中。"],

  state_sending: ["sending", "发送中"],
  state_failed: ["not sent: {detail}", "未发送：{detail}"],
  accepted: ["accepted", "已受理"],
  pushed: ["pushed", "已推送"],
  delivered: ["delivered", "已送达"],
  read: ["read", "已读"],
  word_accepted: ["stored by the hub; it cannot be lost any more", "已存储，不会再丢失"],
  word_pushed: ["written to a device’s socket", "已写入设备的连接"],
  word_delivered: ["acknowledged by a device", "设备已确认收到"],
  word_read: ["read by the person", "本人已读"],
  word_note: [
    "A sender’s own connection is told accepted and read. Pushed and delivered are seen here because both phones are on this page.",
    "发送方自己的连接会得知“已受理”和“已读”；这里能看到“已推送”和“已送达”，是因为两部手机都在这个页面上。",
  ],

  card_comment: ["Comment", "意见"],
  card_comment_needed: ["Please say why.", "请填写意见。"],
  card_sent: ["Sent; waiting for the business system …", "已提交，等待业务系统处理…"],
  card_refused: ["The business system refused: {reason}", "业务系统未接受：{reason}"],
  recalled: ["Taken back", "消息已撤回"],
  recalled_mine: ["You took a message back", "你撤回了一条消息"],
  recalled_by: ["{by} took a message back", "{by} 撤回了一条消息"],
  recalled_of: ["{by} took back a message of {user}", "{by} 撤回了 {user} 的一条消息"],
  edit_again: ["Write it again", "重新编辑"],

  conversations: ["Conversations", "会话"],
  everything: ["Whole queue", "整条队列"],
  everything_hint: ["everything, in order", "全部内容，按顺序"],
  inbox: ["Notifications", "通知"],
  notes: ["Notes to oneself", "给自己的备注"],
  group_untitled: ["Group of {n}", "{n} 人群聊"],
  draft: ["Draft: {text}", "草稿：{text}"],
  pinned: ["pinned", "已置顶"],
  muted: ["muted", "免打扰"],
  mentioned: ["mentions you", "提到了你"],
  marked_unread: ["marked as unread", "标为未读"],
  pin_talk: ["Pin to the top", "置顶会话"],
  unpin_talk: ["Do not pin", "取消置顶"],
  mute_talk: ["Mute", "免打扰"],
  unmute_talk: ["Do not mute", "取消免打扰"],
  members: ["{n} members", "{n} 位成员"],
  members_typing: ["{user} is typing in {title} …", "{user} 正在“{title}”里输入…"],
  group_new: ["New group", "新建群聊"],
  group_title: ["Name of the group", "群名称"],
  group_members: ["Members, with commas between", "成员，用逗号分隔"],
  group_create: ["Make the group", "创建群聊"],
  message_actions: ["Message actions", "消息操作"],
  react_with: ["React with {emoji}", "回应 {emoji}"],
  reaction: ["{emoji}: {n}", "{emoji}：{n} 人"],
  reaction_mine: ["{emoji}: {n}, you among them", "{emoji}：{n} 人，包括你"],
  reply: ["Reply", "回复"],
  edit: ["Edit", "编辑"],
  pin: ["Pin", "置顶"],
  unpin: ["Unpin", "取消置顶"],
  recall: ["Take back", "撤回"],
  hide: ["Delete for me", "仅为我删除"],
  edited: ["edited", "已编辑"],
  forwarded: ["forwarded", "转发"],
  quote: ["{user}: {text}", "{user}：{text}"],
  quote_unknown: ["A message that is not here", "引用的消息不在这里"],
  replying: ["Reply to {text}", "回复 {text}"],
  editing: ["Editing: {text}", "正在编辑：{text}"],
  cancel: ["Cancel", "取消"],
  forward: ["Forward", "转发"],
  forwarding: ["Forward to …: choose a conversation ({text})", "转发给…：在列表里选择会话（{text}）"],
  read_by: ["read by {n}", "{n} 人已读"],
  readers: ["Read: {has}. Not yet: {not}.", "已读：{has}。未读：{not}。"],
  earlier: ["Earlier messages", "更早的消息"],
  attach: ["Send a picture or a file", "发送图片或文件"],
  mention_whom: ["Whom to mention", "要提醒谁"],
  file_save: ["Save {name}", "保存 {name}"],
  file_larger: ["{name}: larger or smaller", "{name}：放大或缩小"],
  file_gone: ["{name} cannot be shown: {detail}", "{name} 无法显示：{detail}"],

  search: ["Search", "搜索"],
  search_hint: ["Words in messages", "消息里的字词"],
  search_found: ["Messages found", "找到的消息"],
  search_count: ["Found: {n}", "找到 {n} 条"],
  search_none: ["Nothing found.", "没有找到。"],
  search_more: ["More", "更多"],

  announced: ["📢 {text}", "📢 公告：{text}"],
  manage: ["Group", "群管理"],
  manage_title: ["Name of the group", "群名称"],
  manage_announce: ["Announcement", "群公告"],
  manage_invite: ["Bring in, with commas between", "邀请成员，用逗号分隔"],
  manage_add: ["Invite", "邀请"],
  save: ["Save", "保存"],
  manage_members: ["Members", "群成员"],
  manage_member: ["What to do with {user}", "管理 {user}"],
  manage_silent: ["silenced until {until}", "禁言至 {until}"],
  manage_make_admin: ["Make admin", "设为管理员"],
  manage_make_member: ["No admin any more", "取消管理员"],
  manage_silence: ["Silence for 10 minutes", "禁言 10 分钟"],
  manage_unsilence: ["May speak again", "解除禁言"],
  manage_transfer: ["Hand the group over", "转让群主"],
  manage_kick: ["Take out", "移出群聊"],
  manage_silence_all: ["Only owner and admins speak", "全员禁言"],
  manage_unsilence_all: ["Everybody may speak", "解除全员禁言"],
  manage_invite_admins: ["Only admins invite", "仅管理员可邀请"],
  manage_invite_members: ["Every member invites", "所有成员可邀请"],
  manage_leave: ["Leave the group", "退出群聊"],
  manage_dissolve: ["Dissolve the group", "解散群聊"],
  manage_sure: ["{what}? Press again", "{what}？再按一次确认"],
  dissolved_silent: ["The group has been dissolved.", "群聊已解散。"],

  inbox_silent: ["Nobody writes here: these are notifications.", "这里是通知，不能发消息。"],

  kind_image: ["[Picture]", "[图片]"],
  kind_video: ["[Video]", "[视频]"],
  kind_file: ["[File]", "[文件]"],
  kind_voice: ["[Voice]", "[语音]"],
  kind_card: ["[Contact]", "[名片]"],
  kind_location: ["[Place]", "[位置]"],
  kind_forward: ["[Chat history]", "[聊天记录]"],

  list_comma: [", ", "、"],
  and_more: ["{some} and more, {n} in all", "{some} 等 {n} 人"],
  role_owner: ["owner", "群主"],
  role_admin: ["admin", "管理员"],
  role_member: ["member", "成员"],
  role_readonly: ["reader", "只读成员"],
  notice_created: ["{by} made the group “{title}”", "{by} 创建了群聊“{title}”"],
  notice_created_plain: ["{by} made the group", "{by} 创建了群聊"],
  notice_joined: ["{by} brought in {who}", "{by} 邀请 {who} 加入"],
  notice_came: ["{who} joined", "{who} 加入了群聊"],
  notice_left: ["{who} left", "{who} 退出了群聊"],
  notice_removed: ["{by} took out {who}", "{by} 将 {who} 移出群聊"],
  notice_role: ["{by} made {who} {role}", "{by} 将 {who} 设为{role}"],
  notice_owner: ["The group belongs to {who} now", "群主已转让给 {who}"],
  notice_silenced: ["{by} silenced {who} until {until}", "{by} 将 {who} 禁言至 {until}"],
  notice_unsilenced: ["{by} lets {who} speak again", "{by} 解除了 {who} 的禁言"],
  notice_group_silenced: ["{by}: only owner and admins speak now", "{by} 开启了全员禁言"],
  notice_group_unsilenced: ["{by}: everybody may speak again", "{by} 解除了全员禁言"],
  notice_announcement: ["{by} announced: {text}", "{by} 发布了群公告：{text}"],
  notice_announcement_gone: ["{by} took the announcement down", "{by} 撤下了群公告"],
  notice_titled: ["{by} named the group “{title}”", "{by} 将群名称改为“{title}”"],
  notice_changed: ["{by} changed the group", "{by} 修改了群资料"],
  notice_settings: ["{by} changed the group’s settings", "{by} 修改了群设置"],
  notice_dissolved: ["{by} dissolved the group", "{by} 解散了群聊"],
  notice_fanout_read: ["The group is large now: messages are read from its history", "群成员较多，消息改为从历史读取"],
  notice_fanout_write: ["The group is smaller again: messages come by themselves", "群成员减少，消息恢复直接推送"],

  // what the hub refuses, for who does not read its English
  code_action_unknown: ["This button does not exist any more.", "该操作已不存在。"],
  code_blocked: ["This user does not take messages from you.", "对方拒收了你的消息。"],
  code_body_invalid: ["This cannot be sent as it is.", "消息内容不符合要求。"],
  code_conversation_dissolved: ["The group has been dissolved.", "群聊已解散。"],
  code_conversation_not_found: ["You are not in this conversation.", "会话不存在，或你不在其中。"],
  code_disconnected: ["Not connected.", "未连接。"],
  code_edit_window_over: ["It is too late to edit this.", "已超过可编辑的时间。"],
  code_conversation_full: ["The group is full.", "群成员已满。"],
  code_group_silenced: ["Only the owner and the admins may speak now.", "已开启全员禁言，仅群主和管理员可发言。"],
  code_media_empty: ["The file is empty.", "文件是空的。"],
  code_media_too_large: ["The file is too large.", "文件太大。"],
  code_media_type_mismatch: ["The file is not what its name says.", "文件内容与类型不符。"],
  code_media_unknown: ["There is no such file.", "文件不存在或无权使用。"],
  code_member_not_found: ["This user is not in the group.", "该用户不在群里。"],
  code_member_silenced: ["You are silenced.", "你已被禁言。"],
  code_message_not_found: ["This message is not there any more.", "消息不存在。"],
  code_not_searchable: ["This hub has no search.", "该消息中心没有搜索功能。"],
  code_owner_must_transfer: ["Hand the group over before you leave it, or dissolve it.", "请先转让群主再退出，或解散群聊。"],
  code_emoji_invalid: ["This is no emoji.", "这不是表情。"],
  code_reaction_limit: ["There are 20 different emojis already.", "这条消息的表情种类已满。"],
  code_pin_limit: ["Too many messages are pinned.", "置顶的消息太多了。"],
  code_removed_before: ["Whoever was taken out comes back by an admin only.", "被移出的成员只能由管理员重新邀请。"],
  code_search_empty: ["There is no word in it to look for.", "没有可搜索的字词。"],
  code_store_unavailable: ["The hub cannot store this now; try again.", "暂时无法保存，请稍后再试。"],
  code_overloaded: ["The hub has too much to do; try again.", "系统繁忙，请稍后再试。"],
  code_rate_limited: ["Too fast; wait a moment.", "操作太快，请稍候。"],
  code_read_only: ["You may read here, but not write.", "你在这里只能阅读。"],
  code_recall_window_over: ["It is too late to take this back.", "已超过可撤回的时间。"],
  code_role_too_low: ["Your role does not allow this.", "你的角色没有这个权限。"],
  code_too_large: ["Too large.", "内容太大。"],
  code_unavailable: ["The hub cannot do this now; try again.", "暂时无法处理，请稍后再试。"],
  code_unreachable: ["The hub cannot be reached.", "无法连接到消息中心。"],
  code_user_not_found: ["There is no such user.", "没有这个用户。"],
  code_request_invalid: ["Something in it is not right.", "填写的内容有误。"],

  notify: ["Send a notification", "发送通知"],
  notify_hint: ["As a business system does: POST /v1/notifications.", "与业务系统的做法相同：POST /v1/notifications。"],
  to: ["To", "发给"],
  notify_title: ["Title", "标题"],
  notify_text: ["Text", "正文"],
  notify_title_value: ["Expense claim to approve", "差旅报销待审批"],
  notify_text_value: ["A claim of 1,200.00 waits for you.", "有一笔 1,200.00 元的报销等你审批。"],
  route: ["Route", "路由"],
  route_default: ["Default", "默认"],
  route_own: ["Own route (JSON)", "自定义路由（JSON）"],
  route_json: ["Route as JSON", "路由 JSON"],
  route_bad: ["The route is not valid JSON.", "路由不是有效的 JSON。"],
  notify_send: ["Send notification", "发送通知"],
  sent: ["Sent", "已发出"],
  sent_none: ["Nothing sent from here yet.", "还没有从这里发出通知。"],
  sent_to: ["to {user}", "发给 {user}"],

  why: ["Why?", "为什么？"],
  story_try: ["try {n}", "第 {n} 次"],

  frames: ["Raw frames", "原始帧"],
  frames_hint: ["What both sockets say and hear, newest last. Tokens are left out.", "两条连接上收发的全部内容，最新的在最后。令牌已隐去。"],
  frames_clear: ["Clear", "清空"],
  frame_out: ["sent", "发出"],
  frame_in: ["received", "收到"],
};

const remembered = () => {
  try {
    return localStorage.getItem(STORED);
  } catch {
    return null;
  }
};

const preferred = () => (/^zh\b/i.test(navigator.language ?? "") ? "zh" : "en");
let lang = ["zh", "en"].includes(remembered()) ? remembered() : preferred();
const listeners = new Set();

export const language = () => lang;
export const locale = () => (lang === "zh" ? "zh-CN" : "en-GB");

/** The words for a key; {name} is replaced by facts.name. */
export function t(key, facts = {}) {
  const pair = WORDS[key];
  if (!pair) return key;
  return pair[lang === "zh" ? 1 : 0].replace(/\{(\w+)\}/g, (whole, name) => facts[name] ?? whole);
}

export const known = (key) => key in WORDS;

/** Why something failed: the hub's own words, which are English, and for who reads Chinese the page's where it has some. */
export function explained(error) {
  const key = `code_${error.code}`;
  return lang === "zh" && known(key) ? t(key) : error.message;
}

/** Call now and after every change of the language, until the function that it gives back is called. */
export function onLanguage(work) {
  listeners.add(work);
  work();
  return () => listeners.delete(work);
}

export function choose(next) {
  lang = next;
  try {
    localStorage.setItem(STORED, next);
  } catch { /* private windows may forget it */ }
  for (const work of listeners) work();
}

/** Fill what the markup marks: data-t is text, data-t-label an accessible name, data-t-hint a placeholder. */
export function translate(root = document) {
  for (const node of root.querySelectorAll("[data-t]")) node.textContent = t(node.dataset.t);
  for (const node of root.querySelectorAll("[data-t-label]")) node.setAttribute("aria-label", t(node.dataset.tLabel));
  for (const node of root.querySelectorAll("[data-t-hint]")) node.placeholder = t(node.dataset.tHint);
}
